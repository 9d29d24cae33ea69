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

const S3: &str = "s3";

impl Location {
    /// What is right, for who gave something else.
    pub const RIGHT: &str = "the path of a folder, or s3://bucket/prefix";

    /// From a path, or from a URL `s3://bucket/prefix` or `file:///folder`; `None` for any other. A folder whose path looks like a URL
    /// is given as `./s3://x`.
    pub fn parse(given: &OsStr) -> Option<Location> {
        let Some((scheme, _)) = given.to_str().and_then(|text| text.split_once("://")).filter(|(scheme, _)| is_scheme(scheme)) else {
            return Some(Location::Folder(given.into()));
        };
        let url = Url::parse(given.to_str()?).ok()?;
        if url.query().is_some() || url.fragment().is_some() || url.port().is_some() || !url.username().is_empty() {
            return None;
        }
        match scheme {
            S3 => {
                let bucket = url.host_str().filter(|host| !host.is_empty())?.to_owned();
                let prefix = url.path().trim_matches('/').to_owned();
                let plain =
                    |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+@,".contains(&byte));
                (prefix.is_empty() || prefix.split('/').all(plain)).then_some(Location::Bucket { bucket, prefix })
            }
            "file" => url.to_file_path().ok().map(Location::Folder),
            _ => None,
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&PathBuf> {
        match self {
            Location::Folder(folder) => Some(folder),
            Location::Bucket { .. } => None,
        }
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) && !text.starts_with('.')
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(folder) => folder.display().fmt(f),
            Location::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "{S3}://{bucket}"),
            Location::Bucket { bucket, prefix } => write!(f, "{S3}://{bucket}/{prefix}"),
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
            "gs://b/x",
            "https://b/x",
            "file://host/x",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
