//! Where an object store is and as whom it is spoken to: what the variables say that programs for S3 read. Those named here and no others, as
//! each that is obeyed is one more that can be wrong without being seen.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::path::Path;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use url::Url;

use super::StateError;

const ENDPOINT: &str = "AWS_ENDPOINT_URL";
const ENDPOINT_OF_S3: &str = "AWS_ENDPOINT_URL_S3";
const REGION: &str = "AWS_REGION";
const DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const CERTIFICATES: &str = "SSL_CERT_FILE";

/// What says nothing by itself: a key that ends, and the roles that pods and containers have.
const OTHERS: [&str; 7] = [
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// The region of a store that has none, and of Amazon where none is named.
const ANY_REGION: &str = "us-east-1";

/// Where, and as whom.
#[derive(Clone, Debug)]
pub struct Access {
    endpoint: Option<Url>,
    region: String,
    /// The key's name.
    key: Option<String>,
    builder: AmazonS3Builder,
}

impl Access {
    /// From the environment; an error names the variable that is wrong.
    pub fn from_environment() -> Result<Access, StateError> {
        let names = [ENDPOINT, ENDPOINT_OF_S3, REGION, DEFAULT_REGION, KEY, SECRET, CERTIFICATES].into_iter().chain(OTHERS);
        Access::of(&names.filter_map(|name| Some((name, env::var(name).ok()?))).collect())
    }

    /// From these variables.
    pub fn of(given: &BTreeMap<&'static str, String>) -> Result<Access, StateError> {
        // Compose files and CI hand on a variable that is not set as an empty one.
        let said = |name: &str| given.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let wrong = |variable: &'static str, words: String| StateError::Variable { variable, words };
        let (at, endpoint) = said(ENDPOINT_OF_S3).map_or((ENDPOINT, said(ENDPOINT)), |endpoint| (ENDPOINT_OF_S3, Some(endpoint)));
        let endpoint = endpoint.map(|text| {
            let plain = |url: &Url| {
                matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.query().is_none()
            };
            Url::parse(text)
                .ok()
                .filter(plain)
                .ok_or_else(|| wrong(at, "is wrong; right is a URL such as https://minio.example:9000".to_owned()))
        });
        let endpoint = endpoint.transpose()?;
        for (one, other) in [(KEY, SECRET), (SECRET, KEY)] {
            if said(one).is_some() && said(other).is_none() {
                return Err(wrong(one, format!("is of no use without {other}")));
            }
        }
        let encrypted = endpoint.as_ref().is_none_or(|url| url.scheme() == "https");
        if let Some(file) = said(CERTIFICATES).filter(|file| encrypted && !Path::new(file).is_file()) {
            return Err(wrong(CERTIFICATES, format!("there is no file {file}")));
        }
        let region = said(REGION).or(said(DEFAULT_REGION)).unwrap_or(ANY_REGION).to_owned();
        let mut builder = AmazonS3Builder::new().with_region(&region);
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        for (name, value) in [KEY, SECRET].into_iter().chain(OTHERS).filter_map(|name| Some((name, said(name)?))) {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        Ok(Access { endpoint, region, key: said(KEY).map(str::to_owned), builder })
    }

    /// What makes a client.
    pub fn builder(&self) -> AmazonS3Builder {
        self.builder.clone()
    }

    /// Whether connections are not encrypted: who names such an endpoint wants that.
    pub fn is_plain(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http")
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(f, "at {}", endpoint.as_str().trim_end_matches('/'))?,
            None => write!(f, "at Amazon")?,
        }
        write!(f, ", region {}, ", self.region)?;
        match &self.key {
            Some(key) => write!(f, "as {key}"),
            None => write!(f, "as the role of this machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[(&'static str, &str)]) -> Result<String, String> {
        let given = given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Access::of(&given).map(|access| access.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_named_is_told_without_the_secret_and_what_is_wrong_names_its_variable() {
        let key = [(KEY, "discodiff"), (SECRET, "sesame")];
        let with = |more: &[(&'static str, &'static str)]| of(&[&key[..], more].concat());
        assert_eq!(with(&[]).as_deref(), Ok("at Amazon, region us-east-1, as discodiff"));
        let at = with(&[(ENDPOINT, "http://minio:9000/"), (REGION, "eu-central-1")]);
        assert_eq!(at.as_deref(), Ok("at http://minio:9000, region eu-central-1, as discodiff"));
        assert_eq!(of(&[(ENDPOINT, ""), (DEFAULT_REGION, "x")]).as_deref(), Ok("at Amazon, region x, as the role of this machine"));
        for endpoint in ["127.0.0.1:9000", "localhost:9000", "ftp://minio", "http://", "http://key:secret@minio"] {
            let said = with(&[(ENDPOINT, endpoint)]).expect_err("refused");
            assert_eq!(said, "AWS_ENDPOINT_URL: is wrong; right is a URL such as https://minio.example:9000", "{endpoint}");
        }
        assert_eq!(of(&key[..1]).expect_err("refused"), "AWS_ACCESS_KEY_ID: is of no use without AWS_SECRET_ACCESS_KEY");
        assert!(with(&[(CERTIFICATES, "/nowhere.pem")]).expect_err("refused").contains("SSL_CERT_FILE: there is no file /nowhere.pem"));
    }
}
