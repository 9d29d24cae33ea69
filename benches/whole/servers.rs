//! Row 9: a month of churn into PostgreSQL and Neo4j, against the first load of the same.

use anyhow::{Context, Result};
use neo4rs::{ConfigBuilder, Query};
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;
use url::Url;

use super::input;
use super::process::refresh;
use super::rows::Row;
use super::settings::Settings;

/// More would take the servers minutes a round, and say the same.
const RELEASES: u64 = 20_000;

const SCHEMA: &str = "discodiff_bench";

pub struct Servers {
    postgres: String,
    neo4j: String,
}

impl Servers {
    pub fn from_environment() -> Option<Servers> {
        let variable = |name| std::env::var(name).ok();
        Some(Servers { postgres: variable("DISCODIFF_TEST_POSTGRES")?, neo4j: variable("DISCODIFF_TEST_NEO4J")? })
    }

    pub fn measure(&self, settings: &Settings) -> Result<()> {
        let releases = settings.releases.min(RELEASES);
        let [first, second] = input::months(settings, &settings.work.join(format!("months-{releases}")), releases)?;
        let mut postgres = Url::parse(&self.postgres).context("DISCODIFF_TEST_POSTGRES")?;
        postgres.query_pairs_mut().append_pair("options", &format!("-csearch_path={SCHEMA}"));
        // The server takes no plus for a space, and there is none.
        let sinks = ["--postgres", postgres.as_str(), "--neo4j", &self.neo4j, "-w", "1"];
        let state = settings.work.join("servers");
        let mut rounds = Vec::new();
        // The first round warms Neo4j up, whose first writes run at a quarter of the later rate.
        for round in 0..=settings.rounds {
            input::empty(&state)?;
            self.wipe(&format!("CREATE SCHEMA {SCHEMA}"))?;
            let load = refresh(settings, &first, &state, &sinks)?.cost;
            let churn = refresh(settings, &second, &state, &sinks)?.cost;
            rounds.extend((round > 0).then_some((churn.wall, load.wall)));
        }
        self.wipe("SELECT 1")?;
        let what = format!("a month of churn into PostgreSQL and Neo4j, {releases} releases, wall seconds against the first load's");
        Ok(Row::of(9, &what, &rounds, 0.1, false).tell()?)
    }

    /// Leaves nothing of an earlier round in either.
    fn wipe(&self, then: &str) -> Result<()> {
        Runtime::new()?.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.postgres, NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; {then}")).await?;
            let url = Url::parse(&self.neo4j).context("DISCODIFF_TEST_NEO4J")?;
            let address = format!("bolt://{}:{}", url.host_str().context("no host")?, url.port().unwrap_or(7687));
            let config = ConfigBuilder::default().uri(address).user(url.username()).password(url.password().unwrap_or_default());
            let graph = neo4rs::Graph::connect(config.build()?)?;
            let wipe = "MATCH (n) CALL { WITH n DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS";
            Ok(graph.run(Query::new(wipe.to_owned())).await.map(drop)?)
        })
    }
}
