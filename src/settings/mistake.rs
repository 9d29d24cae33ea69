//! Where a setting came from, and what is wrong with it.

use std::fmt;
use std::path::PathBuf;

use super::key::Key;

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    #[default]
    Default,
    /// This line of this settings file.
    File(PathBuf, usize),
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

impl Origin {
    /// How strong it is: a higher number wins.
    pub const fn layer(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File(..) => 1,
            Origin::Environment => 2,
            Origin::Flag => 3,
        }
    }

    /// The place of one setting there: `--workers`, `DISCODIFF_WORKERS`, `discodiff.toml, line 3: workers`.
    pub fn place(&self, key: Key) -> String {
        match self {
            Origin::Default => format!("default: {key}"),
            Origin::File(path, line) => format!("{}, line {line}: {key}", path.display()),
            Origin::Environment => key.variable(),
            Origin::Flag => key.flag(),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where: a flag, a variable, a file and its key.
    pub place: String,
    /// What is wrong, and what would be right. Holds no secret.
    pub words: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.words)
    }
}

/// Everything that is wrong with the settings, so that it can be put right in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes one more.
    pub fn add(&mut self, place: impl Into<String>, words: impl Into<String>) {
        self.0.push(Mistake { place: place.into(), words: words.into() });
    }

    /// Notes that a setting is missing that cannot be done without, and what is said of it beside its purpose.
    pub fn add_missing(&mut self, key: Key, beside: &str) {
        let words = format!("is needed: {}{beside} (or {}, or `{key}` in the settings file)", key.purpose(), key.variable());
        self.add(key.flag(), words);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// Takes over all of another list.
    pub fn append(&mut self, other: Mistakes) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("one mistake in the settings:")?,
            count => write!(f, "{count} mistakes in the settings:")?,
        }
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl std::error::Error for Mistakes {}
