//! Objects that several kinds of documents hold.

use super::{Text, object};

object! {
    /// An artist or label that is referred to.
    Entity<'a> {
        /// Its id.
        id: Option<Text<'a>>,
        /// Its name there.
        name: Option<Text<'a>>,
    }
}

object! {
    /// An image; gone from the dumps since 2024-12.
    Image<'a> {
        /// `primary` or `secondary`.
        r#type: Option<Text<'a>>,
        /// Where it is; mostly empty in the dumps.
        uri: Option<Text<'a>>,
        /// Where its thumbnail is.
        uri150: Option<Text<'a>>,
        /// In pixels, as text.
        width: Option<Text<'a>>,
        /// In pixels, as text.
        height: Option<Text<'a>>,
    }
}

object! {
    /// A video that belongs to a master or release.
    Video<'a> {
        /// Where it is.
        src: Option<Text<'a>>,
        /// In seconds, as text.
        duration: Option<Text<'a>>,
        /// Whether it may be embedded, as text.
        embed: Option<Text<'a>>,
        /// Its title.
        title: Option<Text<'a>>,
        /// Its description.
        description: Option<Text<'a>>,
    }
}

object! {
    /// An artist credited on a master, release or track.
    Credit<'a> {
        /// The artist's id; absent where the credit is a bare name.
        id: Option<Text<'a>>,
        /// The artist's name.
        name: Option<Text<'a>>,
        /// Artist name variation: the name as printed.
        anv: Option<Text<'a>>,
        /// What joins it to the next one.
        join: Option<Text<'a>>,
        /// What the artist did.
        role: Option<Text<'a>>,
        /// On which tracks.
        tracks: Option<Text<'a>>,
    }
}

object! {
    /// A label or series on which a release came out.
    Imprint<'a> {
        /// The label's id.
        id: Option<Text<'a>>,
        /// Its name.
        name: Option<Text<'a>>,
        /// Catalogue number.
        catno: Option<Text<'a>>,
    }
}
