//! What no field is there for: elements, attributes and texts of any shape, names sorted by bytes at every level.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Absent;

/// From a path within the record (`tracklist/track/foo`, `tracklist/track@foo`, `artists#text`) to the values found there.
pub type Unmapped<'a> = Sorted<'a, Vec<Generic<'a>>>;

/// A value of unknown shape. An element with nothing but text is that text; any other is an object of `@attribute`, `#text` and child names.
#[derive(Clone, Debug, PartialEq)]
pub enum Generic<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// All elements of one name.
    List(Vec<Generic<'a>>),
    /// An element with attributes or children.
    Object(Sorted<'a, Generic<'a>>),
}

impl Serialize for Generic<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Generic::Text(text) => serializer.serialize_str(text),
            Generic::List(list) => list.serialize(serializer),
            Generic::Object(object) => object.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Generic<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<'a>(PhantomData<&'a ()>);

        impl<'de, 'a> Visitor<'de> for Any<'a> {
            type Value = Generic<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list or an object")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Generic::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = access.next_element()? {
                    list.push(value);
                }
                Ok(Generic::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
                Sorted::from_access(access).map(Generic::Object)
            }
        }

        deserializer.deserialize_any(Any(PhantomData))
    }
}

/// A map written in the order of its names' bytes, and refused when a name occurs twice: keeping the last would hide an altered document.
#[derive(Clone, Debug, PartialEq)]
pub struct Sorted<'a, V>(pub BTreeMap<Cow<'a, str>, V>);

impl<V> Default for Sorted<'_, V> {
    fn default() -> Self {
        Sorted(BTreeMap::new())
    }
}

impl<V> Absent for Sorted<'_, V> {
    #[inline]
    fn absent(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Sorted<'_, V> {
    fn from_access<'de, A: MapAccess<'de>>(mut access: A) -> Result<Self, A::Error>
    where
        V: Deserialize<'de>,
    {
        let mut map = BTreeMap::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value()?;
            if map.contains_key(name.as_str()) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            map.insert(Cow::Owned(name), value);
        }
        Ok(Sorted(map))
    }
}

impl<V: Serialize> Serialize for Sorted<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Sorted<'_, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<'a, V>(PhantomData<(&'a (), V)>);

        impl<'de, 'a, V: Deserialize<'de>> Visitor<'de> for Names<'a, V> {
            type Value = Sorted<'a, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
                Sorted::from_access(access)
            }
        }

        deserializer.deserialize_map(Names(PhantomData))
    }
}
