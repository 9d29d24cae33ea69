//! Words to make titles, notes and descriptions of. All common ones; who is named and what is told is made up.

/// The most common first.
#[rustfmt::skip]
pub(super) const COMMON: &[&str] = &[
    "the", "of", "and", "to", "in", "is", "with", "on", "for", "by", "as", "at", "from", "it", "was", "this", "that", "all", "are", "an",
    "not", "be", "but", "one", "also", "only", "has", "no", "side", "label", "first", "second", "copy", "sleeve", "printed", "recorded",
    "mixed", "made", "issued", "track", "tracks", "version", "edition", "pressing", "same", "other", "some", "both", "back", "front",
    "cover", "record", "disc", "music", "sound", "studio", "credits", "listed", "different", "number", "year", "time", "years", "part",
    "later", "early", "name", "names", "found", "under", "between", "without", "after", "before", "during", "through", "where", "which",
    "while", "when", "then", "there", "their", "they", "who", "have", "had", "were", "been", "being", "more", "most", "many", "few",
    "two", "three", "four", "five", "six", "spine", "centre", "matrix", "runout", "stamped", "etched", "handwritten", "sticker", "insert",
    "booklet", "poster", "gatefold", "inner", "outer", "plain", "white", "black", "red", "blue", "green", "yellow", "silver", "gold",
    "clear", "marbled", "limited", "numbered", "hand", "copies", "sold", "shop", "tour", "club", "radio", "station", "broadcast", "live",
    "session", "concert", "hall", "church", "night", "day", "week", "month", "summer", "winter", "autumn", "spring", "city", "town",
    "street", "house", "room", "river", "harbour", "mountain", "valley", "north", "south", "east", "west", "old", "new", "long", "short",
    "slow", "fast", "loud", "quiet", "bright", "dark", "warm", "cold", "heavy", "light", "drum", "drums", "bass", "guitar", "piano",
    "strings", "brass", "voice", "voices", "choir", "singer", "band", "orchestra", "group", "player", "players", "friend", "friends",
    "member", "members", "founder", "owner", "engineer", "producer", "arranger", "composer", "writer", "poet", "painter", "dancer",
    "released", "remastered", "reissued", "licensed", "distributed", "published", "pressed", "cut", "mastered", "transferred", "restored",
    "edited", "remixed", "arranged", "composed", "written", "performed", "played", "sung", "spoken", "translated", "photographed",
    "designed", "drawn", "original", "alternate", "unreleased", "previously", "originally", "probably", "possibly", "apparently",
    "incorrectly", "correctly", "however", "although", "because", "therefore", "together", "separately", "twice", "once", "again",
    "instead", "rather", "almost", "nearly", "about", "around", "against", "above", "below", "behind", "beside", "across", "along",
    "barcode", "catalogue", "rights", "society", "distribution", "company", "address", "telephone", "letter", "letters", "logo", "font",
    "colour", "paper", "card", "cardboard", "plastic", "vinyl", "cassette", "tape", "shellac", "box", "set", "bonus", "hidden", "silence",
    "seconds", "minutes", "length", "durations", "stated", "timed", "repeat", "loop", "locked", "groove", "edge", "ring", "hole",
    "misprint", "spelling", "error", "corrected", "mistake", "missing", "unknown", "thanks", "dedicated", "memory", "mother", "father",
    "brother", "sister", "family", "children", "school", "teacher", "student", "festival", "contest", "prize", "museum", "gallery",
    "theatre", "film", "play", "dance", "story", "song", "songs", "album", "single", "compilation", "series", "volume", "collection",
    "archive", "library", "project", "idea", "work", "works", "piece", "pieces", "movement", "suite", "theme", "title", "opening",
    "ending", "interlude", "excerpt", "sample", "sampled", "loops", "machine", "synthesizer", "organ", "harp", "flute", "violin", "cello",
    "trumpet", "trombone", "saxophone", "clarinet", "accordion", "harmonica", "percussion", "bells", "tambourine", "whistle", "noise",
    "feedback", "echo", "reverb", "delay", "distortion", "stereo", "mono", "channel", "signal", "level", "needle", "turntable", "speed",
    "analogue", "digital", "source", "reel", "quarter", "half", "speed", "sleevenotes", "liner", "essay", "interview", "photograph",
    "portrait", "landscape", "garden", "forest", "island", "ocean", "desert", "bridge", "tower", "castle", "garage", "kitchen",
    "basement", "attic",
];

/// What titles are made of.
#[rustfmt::skip]
pub(super) const TITLE: &[&str] = &[
    "Love", "Night", "Blue", "Light", "Dance", "Heart", "Time", "Dream", "Fire", "Rain", "Sun", "Moon", "Star", "Sky", "Road", "River",
    "Mountain", "Ocean", "Island", "City", "Street", "House", "Home", "Garden", "Window", "Mirror", "Shadow", "Silence", "Echo", "Signal",
    "Machine", "Engine", "Motor", "Velvet", "Silver", "Golden", "Crystal", "Paper", "Glass", "Stone", "Iron", "Copper", "Amber",
    "Scarlet", "Crimson", "Indigo", "Violet", "Emerald", "Ivory", "Ebony", "Winter", "Summer", "Autumn", "Spring", "Morning", "Evening",
    "Midnight", "Dawn", "Dusk", "Monday", "Friday", "Sunday", "Forever", "Never", "Always", "Tomorrow", "Yesterday", "Today", "Again",
    "Away", "Alone", "Together", "Around", "Beyond", "Below", "Above", "Inside", "Outside", "Under", "Over", "Through", "Without", "Lost",
    "Found", "Broken", "Hidden", "Secret", "Sacred", "Electric", "Magnetic", "Atomic", "Lunar", "Solar", "Cosmic", "Astral", "Digital",
    "Mechanical", "Mystic", "Tropical", "Arctic", "Desert", "Jungle", "Forest", "Valley", "Canyon", "Harbour", "Lighthouse", "Station",
    "Terminal", "Airport", "Railway", "Bridge", "Tower", "Castle", "Palace", "Temple", "Cathedral", "Chapel", "Ballroom", "Basement",
    "Attic", "Corridor", "Stairway", "Elevator", "Carousel", "Circus", "Parade", "Festival", "Carnival", "Wedding", "Funeral", "Birthday",
    "Holiday", "Journey", "Voyage", "Passage", "Return", "Departure", "Arrival", "Crossing", "Border", "Horizon", "Gravity", "Motion",
    "Rhythm", "Melody", "Harmony", "Chorus", "Ballad", "Lullaby", "Waltz", "Tango", "Rumba", "March", "Hymn", "Anthem", "Serenade",
    "Nocturne", "Prelude", "Overture", "Finale", "Suite", "Sonata", "Fugue", "Variation", "Theme", "Story", "Legend", "Fable", "Mystery",
    "Riddle", "Promise", "Letter", "Message", "Whisper", "Scream", "Laughter", "Tears", "Smile", "Kiss", "Touch", "Embrace", "Goodbye",
    "Hello", "Baby", "Lady", "Sister", "Brother", "Mother", "Father", "Children", "Stranger", "Friend", "Lover", "Dreamer", "Dancer",
    "Singer", "Drummer", "Sailor", "Soldier", "Pilot", "Gambler", "Prophet", "Angel", "Devil", "Ghost", "Spirit", "Tiger", "Panther",
    "Wolf", "Raven", "Falcon", "Swallow", "Butterfly", "Spider", "Serpent", "Dragon", "Phoenix", "Unicorn", "Whale", "Dolphin", "Horse",
    "Feather", "Flower", "Rose", "Lily", "Orchid", "Lotus", "Willow", "Cedar", "Maple", "Cherry", "Lemon", "Honey", "Sugar", "Salt",
    "Pepper", "Coffee", "Whiskey", "Wine", "Champagne", "Smoke", "Dust", "Ashes", "Thunder", "Lightning", "Storm", "Breeze", "Wind",
    "Snow", "Ice", "Frost", "Fog", "Cloud", "Rainbow", "Diamond", "Pearl", "Ruby", "Sapphire", "Jewel", "Crown", "Throne", "Kingdom",
    "Empire", "Nation", "Revolution", "Freedom", "Justice", "Victory", "Glory", "Power", "Energy", "System", "Circuit", "Voltage",
    "Frequency", "Static", "Noise", "Pulse", "Wave", "Particle", "Spectrum", "Prism", "Vector", "Matrix", "Cipher", "Code", "Zero", "One",
    "Two", "Three", "Seven", "Eleven", "Hundred", "Thousand", "Million", "Infinity", "Number", "Letters", "Colours", "Shapes", "Circles",
    "Square", "Spiral", "Labyrinth", "Maze", "Puzzle", "Game", "Play", "Work", "Sleep", "Wake", "Run", "Walk", "Jump", "Fly", "Fall",
    "Rise", "Turn", "Move", "Shake", "Groove", "Swing", "Bounce", "Rock", "Roll", "Funk", "Soul", "Blues", "Jazz", "Dub", "Beat", "Bass",
];

/// Small words within titles.
pub(super) const SMALL: &[&str] = &[
    "The", "Of", "A", "In", "To", "And", "On", "My", "You", "For", "Me", "Your", "I", "Is", "It", "With", "No", "Don't", "&amp;", "From",
    "Be",
];

/// What makes a remix one.
#[rustfmt::skip]
pub(super) const MIX: &[&str] = &[
    "Original Mix", "Instrumental", "Dub", "Live", "Radio Edit", "Extended Mix", "Club Mix", "Acapella", "Remastered", "Reprise", "Demo",
    "Vocal Mix", "Alternate Take", "12&quot; Version", "7\" Version", "Intro", "Outro",
];

/// Pieces that readers of text stumble over: astral, other scripts, right to left, combining, joined, NBSP, entities, tabs.
#[rustfmt::skip]
pub(super) const ODD: &[&str] = &[
    "𝄞", "🎧", "🎶", "🎛️", "👩\u{200D}🎤", "𝕷𝖎𝖛𝖊", "𠮷野", "夜明けの歌", "東の風", "音楽", "봄날의 노래", "춤", "Ночной поезд", "Весна", "Ήλιος", "Θάλασσα",
    "שיר", "أغنية", "गीत", "เพลง", "Z\u{0336}e\u{0336}r\u{0336}o\u{0336}", "e\u{0301}te\u{0301}", "N\u{0303}andu", "Ærø", "Łąka", "Über",
    "Ça Va", "Año", "Før", "Şehir", "Žlutý", "½", "№ 7", "℗", "©", "™", "“quoted”", "…", "–", "— —", "a\u{A0}b", "two\u{A0}\u{A0}spaces",
    "R&amp;B", "&lt;3", "A &lt; B &gt; C", "&quot;so called&quot;", "&amp;amp;", "tab&#9;bed", "raw\ttab", "  ",
];

/// Beginnings of given names.
pub(super) const GIVEN: &[&str] = &[
    "An", "Bel", "Cor", "Dan", "El", "Fin", "Gus", "Hal", "Ing", "Jor", "Kas", "Lin", "Mar", "Nel", "Os", "Per", "Quin", "Ros", "Sam",
    "Tor", "Ul", "Vik", "Wil", "Xen", "Yan", "Zel", "Bert", "Clem", "Dirk", "Frid", "Gert", "Hild", "Jan", "Kurt", "Lars", "Mads", "Nils",
    "Rolf",
];

/// Ends of given names.
pub(super) const GIVEN_END: &[&str] =
    &["", "", "na", "ard", "ine", "ek", "is", "ton", "mer", "lys", "wyn", "ita", "ov", "bert", "rik", "sa", "ja"];

/// Given names and prefixes in other dress.
#[rustfmt::skip]
pub(super) const ODD_GIVEN: &[&str] = &[
    "Jürn", "Élodin", "Søra", "Þóra", "Łuka", "Ñela", "Çelin", "Škora", "Ağan", "花野", "春木", "김솔", "Мирон", "Зоря", "Λένα", "דנה", "ليلى",
    "Ro\u{0308}sa", "𝕯𝖆𝖓", "🎹 Mo", "Van\u{A0}Der", "O'Del", "D&amp;T", "$eb", "M.C.", "Sr.",
];
