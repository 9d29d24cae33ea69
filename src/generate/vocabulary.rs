//! What Discogs calls things: genres, styles, countries, roles, formats, identifiers, companies.

/// Genres; the most common first.
#[rustfmt::skip]
pub(super) const GENRES: &[&str] = &[
    "Electronic", "Rock", "Pop", "Funk / Soul", "Jazz", "Hip Hop", "Folk, World, &amp; Country", "Classical", "Reggae", "Latin", "Blues",
    "Stage &amp; Screen", "Non-Music", "Children's", "Brass &amp; Military",
];

/// Styles; the most common first. Fewer than 64, so that a record's are a set of bits.
#[rustfmt::skip]
pub(super) const STYLES: &[&str] = &[
    "House", "Techno", "Experimental", "Pop Rock", "Punk", "Ambient", "Synth-pop", "Alternative Rock", "Hardcore", "Soul", "Disco",
    "Trance", "Deep House", "Electro", "Indie Rock", "Downtempo", "Folk", "Noise", "Industrial", "Drum n Bass", "Tech House", "Breakbeat",
    "Vocal", "Minimal", "Heavy Metal", "Folk Rock", "Funk", "Psychedelic Rock", "Ballad", "Black Metal", "Progressive House", "Hard Rock",
    "Chanson", "IDM", "Abstract", "New Wave", "Country", "Dub", "Leftfield", "Jungle", "Euro House", "Garage House", "Soundtrack",
    "Rhythm &amp; Blues", "Easy Listening", "Acid", "Italo-Disco", "Death Metal", "Jazz-Funk", "Broken Beat", "Reggae", "Dubstep",
    "Roots Reggae", "Free Jazz", "Swing", "Bossa Nova", "Baroque", "Opera", "Spoken Word", "Field Recording", "Musique Concrète",
    "Gospel",
];

/// Countries; the most common first.
#[rustfmt::skip]
pub(super) const COUNTRIES: &[&str] = &[
    "US", "UK", "Germany", "France", "Italy", "Netherlands", "Japan", "Europe", "Spain", "Canada", "Belgium", "Australia", "Sweden",
    "Russia", "Brazil", "Unknown", "Finland", "Greece", "Poland", "USSR", "Yugoslavia", "Denmark", "Norway", "Switzerland", "Austria",
    "Mexico", "Portugal", "Argentina", "UK &amp; Europe", "Jamaica", "Czechoslovakia", "Hungary", "Worldwide", "New Zealand",
    "South Africa", "Turkey", "Trinidad &amp; Tobago", "Côte d'Ivoire", "German Democratic Republic (GDR)",
];

/// What people did on a release; the most common first.
#[rustfmt::skip]
pub(super) const ROLES: &[&str] = &[
    "Written-By", "Producer", "Vocals", "Mastered By", "Mixed By", "Remix", "Guitar", "Engineer", "Drums", "Photography By", "Bass",
    "Design", "Artwork", "Keyboards", "Lacquer Cut By", "Executive-Producer", "Written-By, Producer", "Piano", "Percussion", "Music By",
    "Lyrics By", "Recorded By", "Arranged By", "Saxophone", "Backing Vocals", "Liner Notes", "Trumpet", "Violin", "Featuring",
    "Co-producer", "Programmed By", "Conductor", "Flute", "Synthesizer", "Producer [Additional]", "Composed By", "Scratches",
    "Vocals [Lead]", "Guitar [12-String Acoustic]", "Management", "A&amp;R", "Coordinator", "Technician [Tape Operator]", "Performer",
    "DJ Mix", "Producer, Mixed By, Engineer",
];

/// Formats with what can be said of them.
pub(super) const FORMATS: &[(&str, &[&str])] = &[
    ("Vinyl", &["12\"", "LP", "33 ⅓ RPM", "45 RPM", "Album", "7\"", "Single", "EP", "White Label", "Reissue", "Stereo", "Promo"]),
    ("CD", &["Album", "Compilation", "Maxi-Single", "Single", "Reissue", "Mixed", "EP", "Promo", "Enhanced", "Remastered"]),
    ("Vinyl", &["12\"", "33 ⅓ RPM", "45 RPM", "EP", "Promo", "Limited Edition", "Test Pressing", "Single Sided", "10\""]),
    ("Cassette", &["Album", "Compilation", "C60", "Limited Edition", "Stereo", "Mixtape"]),
    ("CDr", &["Album", "Mini", "Limited Edition", "Promo", "Compilation"]),
    ("File", &["MP3", "AAC", "FLAC", "Album", "EP", "320 kbps", "WAV"]),
    ("DVD", &["DVD-Video", "NTSC", "PAL", "Multichannel", "Compilation"]),
    ("Shellac", &["10\"", "78 RPM", "Single"]),
    ("Box Set", &["Compilation", "Limited Edition", "Numbered"]),
];

/// Kinds of identifiers with what their descriptions begin with.
pub(super) const IDENTIFIERS: &[(&str, &[&str])] = &[
    (
        "Matrix / Runout",
        &["Side A runout etching", "Side B runout etching", "A-side runout", "B-side runout", "Runout, stamped", "Mirrored"],
    ),
    ("Matrix / Runout", &["Variant 1", "Variant 2", "Side A, etched", "Side B, etched", "Label side A", "Label side B", ""]),
    ("Barcode", &["", "Text", "Scanned", "String", "Sticker"]),
    ("Rights Society", &[""]),
    ("Label Code", &[""]),
    ("Mastering SID Code", &["", "Disc 1", "Disc 2"]),
    ("Mould SID Code", &["", "Disc 1"]),
    ("Other", &["Price code", "Cat. no. on spine", "On the sticker"]),
    ("Pressing Plant ID", &["", "Hand-etched"]),
    ("Depósito Legal", &[""]),
];

/// Rights societies.
pub(super) const SOCIETIES: &[&str] = &["GEMA", "BIEM", "ASCAP", "BMI", "MCPS", "SACEM", "STEMRA", "SIAE", "NCB", "JASRAC", "BUMA/STEMRA"];

/// What companies did: type and name; the most common first.
pub(super) const ENTITIES: &[(&str, &str)] = &[
    ("21", "Published By"),
    ("13", "Phonographic Copyright (p)"),
    ("14", "Copyright (c)"),
    ("17", "Pressed By"),
    ("29", "Mastered At"),
    ("23", "Recorded At"),
    ("9", "Distributed By"),
    ("27", "Mixed At"),
    ("30", "Lacquer Cut At"),
    ("37", "Produced For"),
    ("10", "Manufactured By"),
    ("8", "Marketed By"),
    ("7", "Licensed To"),
    ("6", "Licensed From"),
    ("16", "Made By"),
    ("31", "Glass Mastered At"),
    ("26", "Produced At"),
];

/// How sure Discogs is of a record; the most common first.
pub(super) const QUALITIES: &[&str] =
    &["Needs Vote", "Correct", "Needs Major Changes", "Needs Minor Changes", "Complete and Correct", "Entirely Incorrect"];

/// What stands between two artists.
pub(super) const JOINS: &[&str] = &[",", "&amp;", "/", "vs.", "Feat.", "And", "Presents", "With", "Meets", "x"];
