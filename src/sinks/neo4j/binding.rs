//! What the graph says about itself, in nodes of its own without relationships: `DiscodiffBinding`, `DiscodiffKind` (one a kind),
//! `DiscodiffSnapshot` (one an epoch and kind) and `DiscodiffWatermark`.

use neo4rs::{Query, query};
use uuid::Uuid;

use super::connect::Tx;
use super::schema::VERSION;
use crate::model::{Kind, PerKind};
use crate::sinks::{Batch, Epoch, KindEnd, Run, SinkError, Standing, tables};

fn id(place: &str, text: &str) -> Result<Uuid, SinkError> {
    Uuid::parse_str(text).map_err(|e| SinkError::new(crate::sinks::Class::Stop, format!("{place}: its binding is damaged: '{text}'"), e))
}

/// What it says; `None`: it is bound to no state.
pub(super) async fn read_standing(tx: &mut Tx<'_>) -> Result<Option<Standing>, SinkError> {
    let place = tx.place;
    let bound = tx
        .first(query("MATCH (b:DiscodiffBinding) RETURN b.state AS state, b.store AS store, b.version AS version"), |row| {
            Ok((row.get::<String>("state")?, row.get::<String>("store")?, row.get::<i64>("version")?))
        })
        .await?;
    let Some((state, store, version)) = bound else { return Ok(None) };
    if version > VERSION {
        return Err(SinkError::stop(format!(
            "{place} was written by a newer discodiff: its graph is of version {version}, this one knows versions up to {VERSION}; \
             use the newer one"
        )));
    }
    let mut standing =
        Standing { state: Some(id(place, &state)?), store: Some(id(place, &store)?), kinds: PerKind::default(), begun: PerKind::default() };
    let sql =
        "MATCH (k:DiscodiffKind) RETURN k.kind AS kind, k.begun_epoch AS begun_epoch, k.begun_id AS begun_id, k.epoch AS epoch, k.id AS id";
    tx.each(query(sql), |row| {
        let Some(kind) = Kind::from_name(&row.get::<String>("kind")?) else { return Ok(()) };
        let epoch = |number: Option<u64>, text: Option<String>| match (number, text) {
            (Some(number), Some(text)) => Ok(Some(Epoch { number, id: id(place, &text)? })),
            _ => Ok(None),
        };
        let begun = epoch(row.get("begun_epoch")?, row.get("begun_id")?)?;
        standing.kinds[kind] = epoch(row.get("epoch")?, row.get("id")?)?;
        standing.begun[kind] = begun.filter(|_| begun != standing.kinds[kind]);
        Ok(())
    })
    .await?;
    Ok(Some(standing))
}

/// Number of nodes, whatever they are.
pub(super) async fn nodes(tx: &mut Tx<'_>) -> Result<u64, SinkError> {
    tx.number(query("MATCH (n) RETURN count(n) AS n")).await
}

/// Number of relationships, whatever they are.
pub(super) async fn relationships(tx: &mut Tx<'_>) -> Result<u64, SinkError> {
    tx.number(query("MATCH ()-[r]->() RETURN count(r) AS n")).await
}

/// Number of nodes of our own.
pub(super) async fn own(tx: &mut Tx<'_>) -> Result<u64, SinkError> {
    let mut own = 0;
    for label in ["DiscodiffBinding", "DiscodiffKind", "DiscodiffSnapshot", "DiscodiffWatermark"] {
        own += tx.number(Query::new(format!("MATCH (n:{label}) RETURN count(n) AS n"))).await?;
    }
    Ok(own)
}

/// Binds the graph, raises its run number and notes what is begun. Gives the number, and whether an earlier run of this epoch wrote
/// something.
pub(super) async fn bind(tx: &mut Tx<'_>, run: &Run) -> Result<(i64, bool), SinkError> {
    let (epoch, id) = (run.epoch.number.cast_signed(), run.epoch.id.to_string());
    // written to, and so locked, before it is read: who came first has committed by then
    let bind = "MERGE (b:DiscodiffBinding {one: 1}) ON CREATE SET b.state = $state, b.store = $store, b.run = 0 SET b.version = $version";
    let bind = query(bind).param("state", run.state.to_string()).param("store", Uuid::new_v4().to_string()).param("version", VERSION);
    tx.run(bind).await?;
    let raise = "MATCH (b:DiscodiffBinding) SET b.run = b.run + 1 RETURN b.run AS run, b.state AS state";
    let bound = tx.first(query(raise), |row| Ok((row.get::<i64>("run")?, row.get::<String>("state")?))).await?;
    let place = tx.place;
    let Some((number, state)) = bound else { return Err(SinkError::stop(format!("{place}: its binding is gone"))) };
    if state != run.state.to_string() {
        return Err(tables::other_state(place, self::id(place, &state)?, run.state));
    }
    // waits for what is still in flight
    let mark = "MERGE (w:DiscodiffWatermark {writer: 0}) SET w.run = $run, w.batch = 0, w.mended = 0";
    tx.run(query(mark).param("run", number)).await?;
    let read = "MATCH (w:DiscodiffWatermark {writer: 0}) RETURN w.epoch AS epoch";
    let resumed = tx.first(query(read), |row| row.get::<Option<i64>>("epoch")).await?.flatten() == Some(epoch);
    // a kind of which another epoch was begun and never completed holds some of that: it is behind, whatever was applied before
    let lose = "MATCH (k:DiscodiffKind) WHERE k.begun_id <> $id AND (k.id IS NULL OR k.begun_epoch <> k.epoch OR k.begun_id <> k.id)
                REMOVE k.epoch, k.id, k.month, k.records, k.completed_at";
    tx.run(query(lose).param("id", id.as_str())).await?;
    for (kind, read) in run.kinds.iter().filter_map(|(kind, read)| Some((kind, read.as_ref()?))) {
        let snapshot = "MERGE (s:DiscodiffSnapshot {epoch: $epoch, kind: $kind}) ON CREATE SET s.begun_at = datetime()
                        SET s.month = $month, s.file = $file, s.sha256 = $sha256, s.abandoned = false REMOVE s.completed_at";
        let snapshot = query(snapshot).param("epoch", epoch).param("kind", kind.name()).param("month", read.month.as_str());
        tx.run(snapshot.param("file", read.file.as_str()).param("sha256", read.sha256.as_str())).await?;
        let begun = "MERGE (k:DiscodiffKind {kind: $kind}) SET k.begun_epoch = $epoch, k.begun_id = $id";
        tx.run(query(begun).param("kind", kind.name()).param("epoch", epoch).param("id", id.as_str())).await?;
    }
    let abandoned: Vec<i64> = run.abandoned.iter().map(|epoch| epoch.cast_signed()).collect();
    let give_up = "MATCH (s:DiscodiffSnapshot) WHERE s.epoch IN $abandoned AND s.completed_at IS NULL SET s.abandoned = true";
    tx.run(query(give_up).param("abandoned", abandoned)).await?;
    Ok((number, resumed))
}

/// Where the watermark stands: run, batch, and how often edges were mended. Waits for a commit that is still under way, and keeps
/// others from moving it until this transaction ends.
pub(super) async fn watermark(tx: &mut Tx<'_>) -> Result<Option<(i64, i64, i64)>, SinkError> {
    // two statements, since one may read before it writes, and only writing locks
    tx.run(query("MATCH (w:DiscodiffWatermark {writer: 0}) SET w.writer = 0")).await?;
    let read = "MATCH (w:DiscodiffWatermark {writer: 0}) RETURN w.run AS run, w.batch AS batch, w.mended AS mended";
    tx.first(query(read), |row| Ok((row.get("run")?, row.get("batch")?, row.get("mended")?))).await
}

/// Refuses where the graph's run number is no longer this one; and nobody raises it before this transaction ends.
pub(super) async fn fence(tx: &mut Tx<'_>, number: i64) -> Result<(), SinkError> {
    match watermark(tx).await? {
        Some((run, ..)) if run == number => Ok(()),
        _ => Err(tables::fenced(tx.place)),
    }
}

/// Moves the watermark, first of all: a transaction that may not commit does no work.
pub(super) async fn advance(tx: &mut Tx<'_>, run: &Run, number: i64, batch: &Batch) -> Result<(), SinkError> {
    fence(tx, number).await?;
    let advance = "MATCH (w:DiscodiffWatermark {writer: 0}) SET w.state = $state, w.epoch = $epoch, w.tick = $tick, w.batch = $batch";
    let advance = query(advance).param("state", run.state.to_string()).param("epoch", run.epoch.number.cast_signed());
    tx.run(advance.param("tick", batch.tick.cast_signed()).param("batch", batch.number.cast_signed())).await
}

/// Notes how the kinds ended.
pub(super) async fn end(tx: &mut Tx<'_>, run: &Run, number: i64, ends: &PerKind<Option<KindEnd>>) -> Result<(), SinkError> {
    fence(tx, number).await?;
    let epoch = run.epoch.number.cast_signed();
    for (kind, end) in ends.iter().filter_map(|(kind, end)| Some((kind, end.as_ref()?))) {
        let [records, withheld, rejected] = [end.records, end.deletes_withheld, end.rejected].map(u64::cast_signed);
        let snapshot = "MATCH (s:DiscodiffSnapshot {epoch: $epoch, kind: $kind})
                        SET s.sha256 = $sha256, s.completed_at = datetime(), s.records = $records,
                            s.deletes_withheld = $withheld, s.rejected = $rejected";
        let snapshot = query(snapshot).param("epoch", epoch).param("kind", kind.name()).param("records", records);
        tx.run(snapshot.param("withheld", withheld).param("rejected", rejected).param("sha256", run.sha256(kind))).await?;
        if end.current {
            let applied = "MATCH (k:DiscodiffKind {kind: $kind}) WHERE k.begun_id = $begun
                           SET k.epoch = $epoch, k.id = $id, k.begun_epoch = $epoch, k.begun_id = $id,
                               k.month = $month, k.records = $records, k.completed_at = datetime()";
            let applied = query(applied).param("kind", kind.name()).param("begun", run.epoch.id.to_string()).param("records", records);
            let applied = applied.param("epoch", end.epoch.number.cast_signed()).param("id", end.epoch.id.to_string());
            tx.run(applied.param("month", run.month.as_str())).await?;
        }
    }
    Ok(())
}
