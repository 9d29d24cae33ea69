//! Two months of small dumps within the program, to try it without any download.
//!
//! They were made by [`crate::generate`] with [`options`]; run the ignored test `write_the_demo_dumps` to make them anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::generate::Options;

/// One month's folder: its name, and names and contents of its files.
pub type Month = (&'static str, [(&'static str, &'static [u8]); 4]);

macro_rules! month {
    ($month:literal, $date:literal) => {
        (
            $month,
            [
                month!($month, $date, "artists"),
                month!($month, $date, "labels"),
                month!($month, $date, "masters"),
                month!($month, $date, "releases"),
            ],
        )
    };
    ($month:literal, $date:literal, $kinds:literal) => {
        (
            concat!("discogs_", $date, "_", $kinds, ".xml.gz"),
            include_bytes!(concat!("dumps/", $month, "/discogs_", $date, "_", $kinds, ".xml.gz")).as_slice(),
        )
    };
}

/// Both months, in their order.
pub const MONTHS: [Month; 2] = [month!("2026-01", "20260101"), month!("2026-02", "20260201")];

/// What the demo's months were generated with: so much churn that every kind has inserts, updates and deletes.
pub fn options(out: &Path) -> Options {
    Options { artists: Some(300), labels: Some(80), masters: Some(80), seed: 54, churn: 20.0, ..Options::new(out, 250) }
}

/// Writes the months' folders into this one. Each appears with all its files or not at all; one that is there already stays.
pub fn unpack(to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for (month, files) in MONTHS {
        let path = to.join(month);
        if path.exists() {
            continue;
        }
        let part = Part(to.join(format!(".{month}.{}.part", std::process::id())));
        fs::create_dir_all(&part.0)?;
        for (name, bytes) in files {
            let file = part.0.join(name);
            fs::write(&file, bytes)?;
            fs::File::open(&file)?.sync_all()?;
        }
        match fs::rename(&part.0, &path) {
            // Another program was faster: its files are the same.
            Err(_) if path.is_dir() => {}
            renamed => renamed?,
        }
    }
    Ok(())
}

/// A folder that is gone again unless it was put in its place.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It is not there where all went well.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::generate::generate;
    use crate::model::Kind;

    fn xml(gzipped: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(gzipped).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_months_are_what_the_generator_makes() {
        let out = tempfile::tempdir().unwrap();
        generate(&options(out.path()), &mut |_| {}).unwrap();
        for (month, files) in MONTHS {
            for (name, bytes) in files {
                let made = fs::read(out.path().join(month).join(name)).unwrap();
                assert!(xml(&made) == xml(bytes), "{name} differs: run write_the_demo_dumps");
            }
        }
    }

    #[test]
    fn every_kind_has_inserts_updates_and_deletes() {
        let out = tempfile::tempdir().unwrap();
        let summary = generate(&options(out.path()), &mut |_| {}).unwrap();
        for kind in Kind::ALL {
            let counts = summary.counts(1, kind);
            assert!(counts.inserted > 0 && counts.updated > 0 && counts.deleted > 0, "{kind}: {counts:?}");
        }
    }

    #[test]
    fn they_take_little_room_in_the_program() {
        let bytes: usize = MONTHS.iter().flat_map(|(_, files)| files).map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes < 600_000, "{bytes}");
    }

    #[test]
    fn unpacking_writes_whole_folders_and_nothing_else() {
        let to = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            unpack(&to.path().join("new")).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(to.path().join("new")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["2026-01", "2026-02"]);
        for (month, files) in MONTHS {
            for (name, bytes) in files {
                assert_eq!(fs::read(to.path().join("new").join(month).join(name)).unwrap(), bytes);
            }
        }
    }

    #[test]
    #[ignore = "writes into the sources; for when the generator has changed"]
    fn write_the_demo_dumps() {
        let (out, to) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/dumps"));
        generate(&options(out.path()), &mut |_| {}).unwrap();
        for (month, files) in MONTHS {
            fs::create_dir_all(to.join(month)).unwrap();
            for (name, _) in files {
                fs::copy(out.path().join(month).join(name), to.join(month).join(name)).unwrap();
            }
        }
    }
}
