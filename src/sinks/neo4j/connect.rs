//! Connections: settings out of a URL, transactions that never wait for ever, and errors that name the place and never the password.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use neo4rs::summary::ResultSummary;
use neo4rs::{BoltType, ConfigBuilder, Graph, Query, Row, Txn};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use url::Url;

use super::error::{failed, not_connected};
use super::values;
use crate::sinks::patience::{connecting, patience, within};
use crate::sinks::{Class, GraphWritten, SinkError};

/// Idle time before the first probe of a connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Rows that the server sends before it waits to be asked for more.
const FETCH: usize = 5_000;

/// Where to connect to, and how it is called in messages.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) place: String,
    uri: String,
    user: String,
    password: String,
    database: Option<String>,
}

impl Address {
    /// Reads a URL. What cannot be read is not repeated: it may be a part of the password.
    pub(super) fn parse(url: &str, password: Option<&str>) -> Result<Address, SinkError> {
        let unreadable = || {
            SinkError::stop(
                "the Neo4j URL cannot be read; it has the form bolt://USER@HOST:7687 or bolt://USER@HOST:7687/DATABASE (or neo4j:, and \
                 with encryption bolt+s: or neo4j+s:), and in user and password the characters @ : / % ? # are written as \
                 %40 %3A %2F %25 %3F %23",
            )
        };
        let url = Url::parse(url).map_err(|_| unreadable())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(unreadable)?;
        let known = matches!(url.scheme(), "bolt" | "bolt+s" | "bolt+ssc" | "neo4j" | "neo4j+s" | "neo4j+ssc");
        if !known || url.query().is_some() || url.fragment().is_some() {
            return Err(unreadable());
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).map_err(|_| unreadable());
        let database = decoded(url.path().trim_matches('/'))?;
        // an unescaped / in a password makes the rest of it a part of the path
        if database.contains(['@', '/', ':']) {
            return Err(unreadable());
        }
        let user = match url.username() {
            "" => "neo4j".to_owned(),
            user => decoded(user)?,
        };
        let password = match password {
            Some(password) => password.to_owned(),
            None => decoded(url.password().unwrap_or_default())?,
        };
        let port = url.port().unwrap_or(7687);
        let named = if database.is_empty() { String::new() } else { format!(" database {database}") };
        Ok(Address {
            place: format!("Neo4j{named} at {host}:{port} as user {user}"),
            // One server is written to. As neo4j: the driver would ask it for others, and hide why it cannot be connected to.
            uri: format!("{}://{host}:{port}", url.scheme().replace("neo4j", "bolt")),
            user,
            password,
            database: Some(database).filter(|database| !database.is_empty()),
        })
    }

    async fn connect(&self) -> Result<Graph, SinkError> {
        let builder = ConfigBuilder::default()
            .uri(self.uri.as_str())
            .user(self.user.as_str())
            .password(self.password.as_str())
            .fetch_size(FETCH)
            // one only, so that what a transaction left behind is reset before the next begins
            .max_connections(1)
            // of every answer too, and those of a batch may take long
            .connection_timeout(patience())
            .tcp_keepalive(KEEPALIVE);
        let builder = match &self.database {
            Some(database) => builder.db(database.as_str()),
            None => builder,
        };
        let ping = async {
            let graph = Graph::connect(builder.build()?)?;
            let mut txn = graph.start_txn().await?;
            txn.run("RETURN 1").await?;
            txn.rollback().await?;
            Ok(graph)
        };
        let connected =
            async { ping.await.map_err(|error| not_connected(&self.place, self.uri.contains("+s"), self.password.is_empty(), error)) };
        within(Some(connecting()), &self.place, connected).await
    }
}

/// The same error as one that ends the run: at the start nobody tries again.
pub(super) fn at_start(error: SinkError) -> SinkError {
    SinkError { class: Class::Stop, ..error }
}

/// One connection, made anew where it was lost.
pub(super) struct Connection {
    pub(super) address: Address,
    runtime: Arc<Runtime>,
    graph: Option<Graph>,
    /// What the server said that committed transactions wrote, on this connection and others made from it.
    counted: Arc<Mutex<GraphWritten>>,
}

impl Connection {
    pub(super) fn new(address: Address, runtime: Arc<Runtime>) -> Connection {
        Connection { address, runtime, graph: None, counted: Arc::default() }
    }

    /// Another one to the same place.
    pub(super) fn another(&self) -> Connection {
        let counted = Arc::clone(&self.counted);
        Connection { counted, ..Connection::new(self.address.clone(), Arc::clone(&self.runtime)) }
    }

    pub(super) fn place(&self) -> &str {
        &self.address.place
    }

    /// What was counted since it was last asked.
    pub(super) fn take_counts(&self) -> GraphWritten {
        std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Connects, if that is not done yet.
    pub(super) fn open(&mut self) -> Result<(), SinkError> {
        if self.graph.is_none() {
            self.graph = Some(self.runtime.block_on(self.address.connect())?);
        }
        Ok(())
    }

    /// Does some work in one transaction, which is committed where all went well; within a time, if one is given.
    ///
    /// After an error the server takes everything back: at once where the connection is let go of, else before its next transaction.
    pub(super) fn transaction<T>(
        &mut self,
        doing: &str,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut Tx<'_>) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        self.open()?;
        let Some(graph) = &self.graph else { return Err(SinkError::stop(format!("{} is not connected to", self.address.place))) };
        let place = &self.address.place;
        let all = async {
            let txn = graph.start_txn().await.map_err(|error| failed(place, doing, error))?;
            let mut tx = Tx { txn, place, doing, counted: GraphWritten::default() };
            let result = work(&mut tx).await?;
            let counted = tx.counted;
            tx.txn.commit().await.map_err(|error| failed(place, doing, error))?;
            *self.counted.lock().unwrap_or_else(PoisonError::into_inner) += counted;
            Ok(result)
        };
        let result = self.runtime.block_on(within(limit, place, all));
        if matches!(&result, Err(error) if error.class != Class::Reject) {
            self.graph = None;
        }
        result
    }

    /// Runs one statement that cannot be a part of a transaction with others.
    pub(super) fn statement(&mut self, doing: &str, statement: &str) -> Result<(), SinkError> {
        self.transaction(doing, Some(2 * patience()), async |tx| tx.run(Query::new(statement.to_owned())).await)
    }
}

/// A statement over the lists `$all[0]`, `$all[1]` and so on, which the server plans once.
///
/// Planning one takes it up to half a second. It keeps plans by word, and by the sizes of lists that are parameters, but not of those
/// within one; and it drops them when its counts have changed, as they do in each load, unless told not to. Such a plan must be as good
/// for a full graph as for an empty one: it finds nodes by a unique index, which the statement names where the planner may do without, or
/// by the server's own names for them.
pub(super) fn planned_once(statement: &str, lists: impl IntoIterator<Item = BoltType>) -> Query {
    Query::new(format!("CYPHER replan=skip {statement}")).param("all", values::list(lists))
}

/// A transaction.
pub(super) struct Tx<'c> {
    txn: Txn,
    pub(super) place: &'c str,
    doing: &'c str,
    counted: GraphWritten,
}

impl Tx<'_> {
    /// Runs a statement whose answer does not matter.
    pub(super) async fn run(&mut self, query: Query) -> Result<(), SinkError> {
        let summary = self.txn.run(query).await.map_err(|error| failed(self.place, self.doing, error))?;
        self.count(&summary);
        Ok(())
    }

    fn count(&mut self, summary: &ResultSummary) {
        self.counted += GraphWritten {
            nodes_created: summary.stats().nodes_created,
            nodes_deleted: summary.stats().nodes_deleted,
            relationships_created: summary.stats().relationships_created,
            relationships_deleted: summary.stats().relationships_deleted,
        };
    }

    /// Calls `each` for every row of the answer.
    pub(super) async fn each(&mut self, query: Query, mut each: impl FnMut(Answer<'_>) -> Result<(), SinkError>) -> Result<(), SinkError> {
        let fail = |error| failed(self.place, self.doing, error);
        let mut rows = self.txn.execute(query).await.map_err(fail)?;
        while let Some(row) = rows.next(&mut self.txn).await.map_err(fail)? {
            each(Answer { row: &row, place: self.place, doing: self.doing })?;
        }
        let summary = rows.finish(&mut self.txn).await.map_err(fail)?;
        self.count(&summary);
        Ok(())
    }

    /// The first row of the answer, as `take` reads it.
    pub(super) async fn first<T>(
        &mut self,
        query: Query,
        take: impl Fn(Answer<'_>) -> Result<T, SinkError>,
    ) -> Result<Option<T>, SinkError> {
        let mut first = None;
        self.each(query, |row| {
            if first.is_none() {
                first = Some(take(row)?);
            }
            Ok(())
        })
        .await?;
        Ok(first)
    }

    /// The number in column `n` of an answer of one row.
    pub(super) async fn number(&mut self, query: Query) -> Result<u64, SinkError> {
        Ok(self.first(query, |row| row.get::<u64>("n")).await?.unwrap_or(0))
    }
}

/// One row of an answer.
#[derive(Clone, Copy)]
pub(super) struct Answer<'r> {
    row: &'r Row,
    place: &'r str,
    doing: &'r str,
}

impl Answer<'_> {
    /// The value in a column.
    pub(super) fn get<T: DeserializeOwned>(&self, column: &str) -> Result<T, SinkError> {
        self.row.get(column).map_err(|error| {
            let message = format!("{}: {}: column {column} of an answer is not as expected", self.place, self.doing);
            SinkError::new(Class::Stop, message, error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_host_port_database_and_user_and_never_the_password() -> Result<(), SinkError> {
        let address = Address::parse("bolt://me:hu%2Fsh%40@db.example:7688/music", None)?;
        assert_eq!(address.place, "Neo4j database music at db.example:7688 as user me");
        assert_eq!((address.password.as_str(), address.database.as_deref()), ("hu/sh@", Some("music")));
        let address = Address::parse("neo4j+s://db.example", Some("hush"))?;
        assert_eq!(address.place, "Neo4j at db.example:7687 as user neo4j");
        assert_eq!((address.uri.as_str(), address.password.as_str()), ("bolt+s://db.example:7687", "hush"));
        assert_eq!(Address::parse("bolt://[::1]:7688", None)?.uri, "bolt://[::1]:7688");
        Ok(())
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_repeated() {
        for url in [
            "bolt://me:hush@db:port",
            "nonsense hush",
            "bolt://me:hu/sh@db",
            "bolt://me:12/sh@db",
            "bolt://me:12?sh@db",
            "bolt://me:12#sh@db",
            "http://me:hush@db:7474",
            "bolt://me:hush@",
            "bolt:hush",
        ] {
            match Address::parse(url, None) {
                Ok(address) => panic!("{url} was read as {}", address.place),
                Err(error) => assert!(!error.to_string().contains("sh@") && error.class == Class::Stop, "{error}"),
            }
        }
    }
}
