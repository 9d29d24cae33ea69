//! The graph of all records in a Neo4j database, with labels and types as Discogsography's readers expect them.
//!
//! One connection is the sink's, for all but the batches; the writer has one of its own. No lock keeps a second run out (Community has
//! nothing that would hold one): the run number, which every transaction checks, keeps the older of two from writing.
//!
//! A record that is not there, and that an edge points at, has a *stub*: a node with an `id` and `stub: true`. Stubs, genres, styles and
//! persons that no relationship touches go when the run completes.

mod binding;
mod connect;
pub(super) mod edges;
mod error;
mod nodes;
mod rows;
mod schema;
mod sweep;
mod values;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use neo4rs::BoltType;

use super::patience::{patience, patiently};
use super::{Access, Class, Graph, GraphWritten, Holds, KindEnd, Need, Run, Sink, SinkError, Standing, Writer, Writers, tables};
use crate::model::{Change, PerKind};
use connect::{Address, Connection, Tx, at_start};
use nodes::Known;
use sweep::Candidates;

/// The rows by which changed nodes are written, for benchmarks.
#[doc(hidden)]
pub fn rows(changes: &[Change]) -> Vec<BoltType> {
    let row = |change: &Change| change.graph.as_ref().map(|(hash, projection)| nodes::row(change.key, *hash, projection));
    changes.iter().filter_map(row).collect()
}

/// A Neo4j database.
pub struct Neo4j {
    connection: Connection,
    access: Access,
    /// The run number, once begun.
    run: Option<i64>,
    /// What the writer leaves for the end.
    candidates: Arc<Mutex<Candidates>>,
    /// What the writer knew to be there, once it has been dropped.
    known: Arc<Mutex<Known>>,
    /// Calls of `mend` in this run.
    mended: i64,
    /// Whether the graph had no relationships before the first of them: those that are mended are not there.
    bare: bool,
    /// What the last run wrote.
    written: GraphWritten,
}

impl Neo4j {
    /// Connects. A password given here goes before one in the URL.
    ///
    /// Not to be called, nor any method, on a thread that already runs async code.
    pub fn open(url: &str, password: Option<&str>, access: Access) -> Result<Neo4j, SinkError> {
        let address = Address::parse(url, password)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("neo4j")
            .enable_all()
            .build()
            .map_err(|e| SinkError::new(Class::Stop, "threads for Neo4j could not be started", e))?;
        let mut connection = Connection::new(address, Arc::new(runtime));
        connection.open().map_err(at_start)?;
        Ok(Neo4j {
            connection,
            access,
            run: None,
            candidates: Arc::default(),
            known: Arc::default(),
            bare: false,
            mended: 0,
            written: GraphWritten::default(),
        })
    }

    fn begun(&self) -> Result<i64, SinkError> {
        self.run.ok_or_else(|| SinkError::stop(format!("{} was not begun", self.connection.place())))
    }

    /// Reads something in one transaction, more than once where the connection is lost.
    fn reading<T>(
        &mut self,
        doing: &str,
        limit: Option<Duration>,
        work: impl AsyncFn(&mut Tx<'_>) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        patiently(|| self.connection.transaction(doing, limit, &work))
    }
}

impl Sink for Neo4j {
    fn name(&self) -> &'static str {
        "neo4j"
    }

    fn place(&self) -> String {
        self.connection.place().to_owned()
    }

    fn standing(&mut self) -> Result<Standing, SinkError> {
        self.connection.transaction("reading where it stands", Some(patience()), async |tx| {
            if let Some(standing) = binding::read_standing(tx).await? {
                return Ok(standing);
            }
            match binding::nodes(tx).await? {
                0 => Ok(Standing::default()),
                held => Err(SinkError::stop(format!(
                    "{} is foreign: it holds {held} nodes that no discodiff wrote; name an empty database",
                    tx.place
                ))),
            }
        })
    }

    fn holds(&self) -> Holds {
        Holds::Graph
    }

    fn writers(&self) -> Writers {
        Writers::First
    }

    fn begin(&mut self, run: &Run) -> Result<Vec<Box<dyn Writer>>, SinkError> {
        let place = self.connection.place().to_owned();
        if self.access == Access::Read {
            return Err(SinkError::stop(format!("{place} was opened for reading only")));
        }
        if let Some(theirs) = self.standing()?.state.filter(|state| *state != run.state) {
            return Err(tables::other_state(&place, theirs, run.state));
        }
        schema::make(&mut self.connection)?;
        let (number, resumed, bare, empty) = self.connection.transaction("beginning a run", Some(patience()), async |tx| {
            let (number, resumed) = binding::bind(tx, run).await?;
            let bare = binding::relationships(tx).await? == 0;
            Ok((number, resumed, bare, bare && binding::nodes(tx).await? == binding::own(tx).await?))
        })?;
        self.run = Some(number);
        self.mended = 0;
        // What was written up to here is our own.
        self.connection.take_counts();
        // What lost its last relationship before a run was taken up is not known any more.
        self.candidates = Arc::new(Mutex::new(Candidates::new(run.from.is_some())));
        let job = writer::Job { run: Arc::new(run.clone()), number, resumed, bare, known: Known::new(empty), tried: None };
        let candidates = Arc::clone(&self.candidates);
        self.known = Arc::default();
        let left = Arc::clone(&self.known);
        Ok(vec![Box::new(writer::Neo4jWriter { connection: self.connection.another(), candidates, left, job })])
    }

    fn complete(&mut self, run: &Run, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
        let number = self.begun()?;
        let candidates = std::mem::take(&mut *self.candidates.lock().unwrap_or_else(PoisonError::into_inner));
        let everything = run.kinds.0.iter().flatten().any(|kind| kind.need != Need::Changes);
        let connection = &mut self.connection;
        let removed = patiently(|| match everything || candidates.incomplete {
            true => sweep::whole(connection, number),
            false => sweep::candidates(connection, number, &candidates),
        })?;
        tracing::debug!("{}: {removed} nodes that nothing points at are gone", self.connection.place());
        self.written = self.connection.take_counts();
        patiently(|| {
            self.connection.transaction("completing the snapshot", Some(patience()), async |tx| binding::end(tx, run, number, ends).await)
        })
    }

    fn graph(&mut self) -> Option<&mut dyn Graph> {
        Some(self)
    }
}
