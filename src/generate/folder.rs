//! The folder that gets the months. `truth.json` marks it as ours: empty while it is being written, true at the end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::model::Kind;

use super::Error;
use super::truth::Truths;

/// A folder that is being written.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it, or takes one that was generated before and removes what the new months will not replace.
    pub fn begin(out: &Path, months: &[&String]) -> Result<Folder, Error> {
        fs::create_dir_all(out).map_err(Error::io(out))?;
        let folder = Folder(out.to_owned());
        let mut entries = fs::read_dir(out).map_err(Error::io(out))?;
        if entries.next().is_some() {
            if !folder.truth().is_file() {
                return Err(Error::Occupied(out.to_owned()));
            }
            folder.clear().map_err(Error::io(out))?;
        }
        // Should the program end early, this says that the folder is ours and that nothing is known of it.
        fs::write(folder.truth(), "{}\n").map_err(Error::io(folder.truth()))?;
        for month in months {
            let path = out.join(month);
            fs::create_dir_all(&path).map_err(Error::io(&path))?;
        }
        Ok(folder)
    }

    /// Where a dump stands.
    pub fn dump(&self, month: &str, kind: Kind) -> PathBuf {
        self.0.join(month).join(format!("discogs_{}01_{}.xml.gz", month.replace('-', ""), kind.plural()))
    }

    /// Writes the checksums, each month's files in order, and the truth.
    pub fn end(&self, sums: &BTreeMap<&String, Vec<(PathBuf, String)>>, truths: &Truths) -> Result<(), Error> {
        for (month, sums) in sums {
            let path = self.0.join(month).join(format!("discogs_{}01_CHECKSUM.txt", month.replace('-', "")));
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lines: String = sums.iter().map(|(path, sum)| format!("{sum} {}\n", name(path))).collect();
            fs::write(&path, lines).map_err(Error::io(path))?;
        }
        let (path, part) = (self.truth(), self.0.join("truth.json.part"));
        let write = || -> io::Result<()> {
            let mut file = BufWriter::new(fs::File::create(&part)?);
            serde_json::to_writer(&mut file, truths)?;
            file.write_all(b"\n")?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&part, &path)
        };
        write().map_err(Error::io(&path))
    }

    fn truth(&self) -> PathBuf {
        self.0.join("truth.json")
    }

    /// Removes the dumps and checksums of earlier months; anything else stays.
    fn clear(&self) -> io::Result<()> {
        for month in fs::read_dir(&self.0)? {
            let (month, mut left) = (month?, false);
            let name = month.file_name().to_string_lossy().replace('-', "");
            if !month.file_type()?.is_dir() || name.len() != 6 || !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            for file in fs::read_dir(month.path())? {
                let file = file?;
                let ours = file.file_name().to_string_lossy().strip_prefix(&format!("discogs_{name}01_")).is_some_and(|rest| {
                    rest == "CHECKSUM.txt"
                        || Kind::ALL.iter().any(|kind| rest.strip_prefix(kind.plural()).is_some_and(|end| end.starts_with(".xml.gz")))
                });
                if ours { fs::remove_file(file.path())? } else { left = true }
            }
            if !left {
                fs::remove_dir(month.path())?;
            }
        }
        Ok(())
    }
}
