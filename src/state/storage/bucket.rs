//! The objects of a bucket whose names begin alike.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::TryStreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::access::Access;
use super::lease::{self, Held};
use super::{Location, Record, StateError, problem};

/// How long an answer is waited for, and each piece of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a request is made again and again: a store that fails for longer fails the run.
pub const RETRIES: Duration = Duration::from_secs(120);

/// Likewise, where the store has not answered yet: most often it is not there, or not meant.
const FIRST: Duration = Duration::from_secs(3);
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// Who waits for longer is told so.
const LONG: Duration = Duration::from_secs(10);

/// How long a run that is asked to end waits for an answer.
const LAST: Duration = Duration::from_secs(5);

/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(100);

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
    access: Access,
    /// Set when the user wants an end.
    stop: Arc<AtomicBool>,
}

impl Bucket {
    pub fn open(access: Access, bucket: &str, prefix: &str, stop: Arc<AtomicBool>) -> Result<Bucket, StateError> {
        let place = Location::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() }.to_string();
        let wrong = |problem: String| StateError::Objects { action: "open", path: place.clone().into(), problem };
        // It is told so by whoever was first, which may be another part of this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = access.builder().with_bucket_name(bucket);
        let retrying = |retry_timeout: Duration, patience: Duration| {
            let client = ClientOptions::new()
                .with_allow_http(access.is_plain())
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
            access,
            stop,
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

    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether the user wants an end.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits for what is asked of the store; not for long where the run is to end. Never called by a thread of the client.
    pub fn wait<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.runtime.block_on(async {
            let (mut asked, begun) = (pin!(asked), Instant::now());
            let (mut told, mut ending) = (false, None);
            loop {
                if let Ok(answer) = timeout(LOOK, &mut asked).await {
                    if told && answer.is_ok() {
                        tracing::info!("the store of {self} answers again");
                    }
                    return answer;
                }
                if !told && begun.elapsed() > LONG {
                    told = true;
                    tracing::warn!("the store of {self} does not answer, and is asked again for some minutes");
                }
                if self.is_stopping() && ending.get_or_insert_with(Instant::now).elapsed() > LAST {
                    return Err(silent(LAST));
                }
            }
        })
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
        StateError::Objects { action, path: self.path(name), problem: problem::words(error) }
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
        let listed = self.wait(self.store().list(prefix).try_collect::<Vec<_>>()).map_err(|error| self.error("list", "", &error))?;
        let own = |location: &ObjectPath| {
            let mut parts = location.prefix_match(&self.prefix)?;
            let name = parts.next()?.as_ref().to_owned();
            parts.next().is_none().then_some(name)
        };
        Ok(listed.into_iter().filter_map(|meta| Some((own(&meta.location)?, meta.size, meta.last_modified.into()))).collect())
    }

    pub fn remove(&self, name: &str) -> Result<(), String> {
        match self.wait(self.store().delete(&self.object(name))) {
            Err(error) if !matches!(error, Error::NotFound { .. }) => Err(problem::words(&error)),
            _ => Ok(()),
        }
    }
}

/// The error of who has waited for long enough.
pub fn silent(patience: Duration) -> Error {
    Error::Generic { store: "S3", source: format!("no answer within {} s", patience.as_secs()).into() }
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
