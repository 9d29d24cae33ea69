//! How it is said where a state is.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use url::Url;

/// Where a state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In this folder.
    Folder(PathBuf),
    /// Among the objects of a bucket.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of the objects begin with, without a slash at its ends; may be empty.
        prefix: String,
    },
}

const S3: &str = "s3://";
const FILE: &str = "file://";

impl Location {
    /// What is right, for who gave something else.
    pub const RIGHT: &str = "the path of a folder, or s3://bucket/prefix, in which parts between slashes have letters, digits and -_.=+,";

    /// From a path, or from a URL `s3://bucket/prefix` or `file:///folder`; `None` for any other, and for what is nearly one. A folder whose
    /// path looks like a URL is given as `./s3:x`.
    pub fn parse(given: &OsStr) -> Option<Location> {
        let Some(text) = given.to_str() else { return Some(Location::Folder(given.into())) };
        if let Some(rest) = text.strip_prefix(S3) {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+,".contains(&byte));
            let right = |part: &str| !matches!(part, "" | "." | "..") && plain(part);
            let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
            return (right(&bucket) && (prefix.is_empty() || prefix.split('/').all(right))).then_some(Location::Bucket { bucket, prefix });
        }
        if text.starts_with(FILE) {
            let url = Url::parse(text).ok().filter(|url| url.query().is_none() && url.fragment().is_none())?;
            return url.to_file_path().ok().map(Location::Folder);
        }
        let nearly = ["s3:", "s3/", "file:"].iter().any(|start| text.to_ascii_lowercase().starts_with(start));
        let other = text.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        (!nearly && !other).then(|| Location::Folder(given.into()))
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&PathBuf> {
        match self {
            Location::Folder(folder) => Some(folder),
            Location::Bucket { .. } => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(folder) => folder.display().fmt(f),
            Location::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "{S3}{bucket}"),
            Location::Bucket { bucket, prefix } => write!(f, "{S3}{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_or_a_bucket_is_named_and_nothing_else() {
        let parse = |text: &str| Location::parse(OsStr::new(text));
        let folder = |path: &str| Some(Location::Folder(path.into()));
        let bucket = |bucket: &str, prefix: &str| Some(Location::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        assert_eq!(parse("state"), folder("state"));
        assert_eq!(parse("./s3://x"), folder("./s3://x"));
        assert_eq!(parse("file:///srv/a%20b"), folder("/srv/a b"));
        assert_eq!(parse("s3://discogs"), bucket("discogs", ""));
        assert_eq!(parse("s3://discogs/states/of-2025/"), bucket("discogs", "states/of-2025"));
        assert_eq!(parse("s3://discogs/a/b").map(|of| of.to_string()).as_deref(), Some("s3://discogs/a/b"));
        for wrong in [
            "s3://",
            "s3:///x",
            "s3://key:secret@bucket/x",
            "s3://b/x?y",
            "s3://b/a//b",
            "s3://b/a b",
            "s3://b/../x",
            "s3://b/x//",
            "gs://b/x",
            "https://b/x",
            "file://host/x",
            "s3:/b/x",
            "s3//b/x",
            "S3://b/x",
            "file:x",
            "file:///x?y",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
