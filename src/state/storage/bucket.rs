//! The objects of a bucket whose names begin alike. Who is spoken to, and as whom, is told by the variables that all programs for S3 read:
//! `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; without keys the role of the machine
//! or of the pod is used.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::lease::{self, Held};
use super::{Location, Record, StateError};

/// How long an answer is waited for, and each piece of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a request is made again and again: a store that fails for longer fails the run.
pub const RETRIES: Duration = Duration::from_secs(120);

/// Likewise, where the store has not answered yet: most often it is not there, or not meant.
const FIRST: Duration = Duration::from_secs(3);
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// The objects of one state.
pub struct Bucket {
    store: AmazonS3,
    /// The same, until it has answered.
    untried: AmazonS3,
    has_answered: AtomicBool,
    name: String,
    prefix: ObjectPath,
    runtime: Runtime,
    /// In the names of what this program writes.
    tag: u32,
    /// What `state.json` says, while it is held from here.
    held: Mutex<Option<Held>>,
}

impl Bucket {
    pub fn open(bucket: &str, prefix: &str) -> Result<Bucket, StateError> {
        Bucket::of(AmazonS3Builder::from_env(), bucket, prefix)
    }

    pub fn of(builder: AmazonS3Builder, bucket: &str, prefix: &str) -> Result<Bucket, StateError> {
        let place = Location::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() }.to_string();
        let wrong = |problem: String| StateError::Objects { action: "open", path: place.clone().into(), problem };
        // It is told so by whoever was first, which may be another part of this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = builder.with_bucket_name(bucket);
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        // Who names an endpoint without encryption wants none.
        let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let retrying = |retry_timeout: Duration, patience: Duration| {
            let client = ClientOptions::new()
                .with_allow_http(plain)
                // A large object may take long to be read, and is waited for piece by piece.
                .with_timeout_disabled()
                .with_read_timeout(patience);
            let backoff = BackoffConfig {
                init_backoff: Duration::from_millis(500),
                max_backoff: Duration::from_secs(10),
                ..BackoffConfig::default()
            };
            let retry = RetryConfig { backoff, max_retries: 60, retry_timeout };
            builder.clone().with_client_options(client).with_retry(retry).build().map_err(|error| wrong(error.to_string()))
        };
        let (store, untried) = (retrying(RETRIES, PATIENCE)?, retrying(FIRST, FIRST_PATIENCE)?);
        let prefix = ObjectPath::parse(prefix).map_err(|error| wrong(error.to_string()))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("objects").enable_all().build();
        let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
        let tag = uuid::Uuid::new_v4().as_fields().0;
        Ok(Bucket {
            store,
            untried,
            has_answered: AtomicBool::new(false),
            name: bucket.to_owned(),
            prefix,
            runtime,
            tag,
            held: Mutex::new(None),
        })
    }

    pub fn tag(&self) -> u32 {
        self.tag
    }

    pub fn store(&self) -> &AmazonS3 {
        if self.has_answered.load(Ordering::Relaxed) { &self.store } else { &self.untried }
    }

    pub fn has_answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits for what is asked of the store. Never called by a thread that others wait for in the same way.
    pub fn wait<T>(&self, asked: impl Future<Output = T>) -> T {
        self.runtime.block_on(asked)
    }

    pub fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn object(&self, name: &str) -> ObjectPath {
        self.prefix.clone().join(name)
    }

    /// For words.
    pub fn path(&self, name: &str) -> PathBuf {
        format!("{self}/{name}").into()
    }

    pub fn error(&self, action: &'static str, name: &str, error: &Error) -> StateError {
        StateError::Objects { action, path: self.path(name), problem: self.problem(error) }
    }

    /// What is wrong, and what to do.
    pub fn problem(&self, error: &Error) -> String {
        let told = told(error);
        let advice = match error {
            Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => {
                "whoever AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the role of this machine) stand for must be known there, and may get, put, list and delete its objects"
            }
            Error::NotFound { .. } if told.contains("NoSuchBucket") => "there is no such bucket; make it first",
            Error::NotImplemented { .. } | Error::NotSupported { .. } => "the store cannot do what is needed",
            _ if told.contains("169.254.") => {
                "no key was named, and this machine has no role: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            _ if told.contains("certificate") => {
                "nobody vouches for the store's certificate; SSL_CERT_FILE names a PEM file of those who are to be believed"
            }
            Error::Generic { .. } => "does the store answer, and are AWS_ENDPOINT_URL and AWS_REGION right?",
            _ => return told,
        };
        format!("{advice} ({told})")
    }

    /// What a record says. Who holds the state knows it.
    pub fn record(&self, record: Record) -> Result<Option<String>, StateError> {
        if let Some(held) = &*self.held() {
            return Ok(held.says(record));
        }
        Ok(lease::read(self)?.and_then(|(head, _)| head.says(record)))
    }

    pub fn put_record(&self, record: Record, text: Option<&str>) -> Result<(), StateError> {
        self.with_held(|held| held.put(self, record, text))
    }

    /// An error where another program has taken the state over.
    pub fn prove_held(&self) -> Result<(), StateError> {
        self.with_held(|held| held.write(self, RETRIES))
    }

    /// The same, as far as it is known.
    pub fn not_taken_over(&self) -> Result<(), StateError> {
        // Where it is being put, more is known in a moment.
        let Ok(held) = self.held.try_lock() else { return Ok(()) };
        held.as_ref().map_or(Ok(()), |held| held.not_taken_over(self))
    }

    fn with_held(&self, work: impl FnOnce(&mut Held) -> Result<(), StateError>) -> Result<(), StateError> {
        let mut held = self.held();
        let Some(held) = held.as_mut() else {
            let problem = "this program does not hold it. This is a defect of discodiff".to_owned();
            return Err(StateError::Objects { action: "write", path: self.path(lease::HEAD), problem });
        };
        work(held)
    }

    /// Name, size and time of all objects.
    pub fn list(&self) -> Result<Vec<(String, u64, SystemTime)>, StateError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let listed = self.wait(self.store.list(prefix).try_collect::<Vec<_>>()).map_err(|error| self.error("list", "", &error))?;
        let own = |location: &ObjectPath| {
            let mut parts = location.prefix_match(&self.prefix)?;
            let name = parts.next()?.as_ref().to_owned();
            parts.next().is_none().then_some(name)
        };
        Ok(listed.into_iter().filter_map(|meta| Some((own(&meta.location)?, meta.size, meta.last_modified.into()))).collect())
    }

    pub fn remove(&self, name: &str) -> Result<(), String> {
        match self.wait(self.store.delete(&self.object(name))) {
            Err(error) if !matches!(error, Error::NotFound { .. }) => Err(self.problem(&error)),
            _ => Ok(()),
        }
    }
}

/// An error down to its cause, in one line: of an answer in XML the code and the message.
fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let cause = cause.to_string();
    if !told.contains(&cause) {
        told += &format!(": {cause}");
    }
    let within = |name: &str| Some(told.split_once(&format!("<{name}>"))?.1.split_once('<')?.0.to_owned());
    if let Some((before, code)) = told.find("<?xml").or_else(|| told.find("<Error>")).zip(within("Code")) {
        told = format!("{}{code}: {}", &told[..before], within("Message").unwrap_or_default());
    }
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Location::Bucket { bucket: self.name.clone(), prefix: self.prefix.to_string() }.fmt(f)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({self})")
    }
}
