//! Lets go of clients beside everything else: it takes a tenth of a second for each, and has been known to hang.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

/// The program does not wait for them longer than this.
const CLOSE: Duration = Duration::from_secs(5);

/// One for each client that may not be closed yet; disconnected when it is.
static CLOSING: Mutex<Vec<Receiver<()>>> = Mutex::new(Vec::new());

/// A client that is dropped on a thread of its own. What else holds the client must be dropped before.
pub struct Closing<C: Send + Sync + 'static>(Option<Arc<C>>);

impl<C: Send + Sync + 'static> Closing<C> {
    /// Of a client.
    pub fn new(client: C) -> Closing<C> {
        Closing(Some(Arc::new(client)))
    }
}

impl<C: Send + Sync + 'static> Deref for Closing<C> {
    type Target = Arc<C>;

    fn deref(&self) -> &Arc<C> {
        self.0.as_ref().unwrap_or_else(|| unreachable!("it is there until it is dropped"))
    }
}

impl<C: Send + Sync + 'static> Drop for Closing<C> {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            let_go(client);
        }
    }
}

fn let_go<C: Send + 'static>(client: C) {
    let (done, closed) = bounded::<()>(0);
    let dropping = thread::Builder::new().name("close kafka".to_owned()).spawn(move || {
        drop(client);
        drop(done);
    });
    // Without a thread it was dropped here.
    if dropping.is_ok() {
        let mut closing = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
        closing.retain(|closed| closed.try_recv() == Err(crossbeam_channel::TryRecvError::Empty));
        closing.push(closed);
    }
}

/// Waits until all are closed: the end of the program does not stop their threads in an orderly way.
pub fn wait() {
    let until = Instant::now() + CLOSE;
    for closed in std::mem::take(&mut *CLOSING.lock().unwrap_or_else(PoisonError::into_inner)) {
        if closed.recv_deadline(until) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a Kafka client is slow to close, and is left behind");
        }
    }
}
