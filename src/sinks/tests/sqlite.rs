//! What SQLite alone promises.

use std::path::Path;

use uuid::Uuid;

use super::harness::*;
use crate::model::Kind;
use crate::model::Verdict;
use crate::sinks::sqlite::Sqlite;
use crate::sinks::{Access, Class, Need, Sink};

fn files(store: &InFile) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let folder = store.path().parent().map(Path::to_owned).ok_or("no folder")?;
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

#[test]
fn a_run_leaves_one_file_and_a_refused_one_none() -> Outcome {
    let store = InFile::new()?;
    let mut sink = store.open(Access::Write)?;
    sink.standing()?;
    sink.close()?;
    assert_eq!(files(&store)?, [""; 0]);
    let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
    apply(&store, &run, vec![artist(1, Verdict::Insert, "A")])?;
    assert_eq!(files(&store)?, ["store.sqlite"]);
    Ok(())
}

#[test]
fn what_a_killed_run_left_beside_the_file_is_taken_up() -> Outcome {
    let store = InFile::new()?;
    let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
    let mut sink = store.open(Access::Write)?;
    begin(&mut *sink, &run)?.write(&batch(1, vec![artist(1, Verdict::Insert, "A")]), 0)?;
    // as after a kill: the files as they are, and nobody who closes them
    let copy = InFile::new()?;
    for name in files(&store)? {
        std::fs::copy(store.path().with_file_name(&name), copy.path().with_file_name(&name))?;
    }
    assert!(files(&copy)?.len() > 1);
    let mut sink = copy.open(Access::Write)?;
    assert_eq!(sink.standing()?.begun[Kind::Artist], Some(run.epoch));
    sink.close()?;
    assert_eq!((files(&copy)?, copy.sql("SELECT data_id FROM artists")?), (vec!["store.sqlite".to_owned()], vec![vec!["1".to_owned()]]));
    Ok(())
}

#[test]
fn a_reader_may_have_the_file_open_while_a_run_writes_and_ends() -> Outcome {
    let store = InFile::new()?;
    let (state, first) = (Uuid::new_v4(), epoch(1));
    apply(&store, &run(state, first, Need::Everything), vec![artist(1, Verdict::Insert, "A")])?;
    let mut reader = store.open(Access::Read)?;
    assert_eq!(reader.standing()?.kinds[Kind::Artist], Some(first));
    apply(&store, &run(state, epoch(2), Need::Changes), vec![artist(1, Verdict::Update, "B")])?;
    assert_ne!(reader.standing()?.kinds[Kind::Artist], Some(first));
    Ok(())
}

#[test]
fn a_file_is_filled_without_a_write_ahead_log_and_its_readers_see_whole_batches() -> Outcome {
    let store = InFile::new()?;
    let (state, rows) = (Uuid::new_v4(), || store.sql("SELECT count(*) FROM artists"));
    let mut sink = store.open(Access::Write)?;
    let mut writer = begin(&mut *sink, &run(state, epoch(1), Need::Everything))?;
    for number in 1..4 {
        let two = [2 * number, 2 * number + 1].map(|id| artist(id, Verdict::Insert, "A"));
        writer.write(&batch(number, two.to_vec()), 0)?;
        assert_eq!(rows()?, [[(2 * number).to_string()]]);
    }
    let log = || files(&store).map(|names| names.iter().any(|name| name.ends_with("-wal")));
    assert!(!log()?);
    drop(writer);
    sink.close()?;
    begin(&mut *sink, &run(state, epoch(2), Need::Changes))?.write(&batch(1, vec![artist(9, Verdict::Insert, "A")]), 0)?;
    assert!(log()?);
    Ok(())
}

#[test]
fn what_is_no_file_for_us_is_refused_with_words() -> Outcome {
    let store = InFile::new()?;
    let refused = |path: &Path, words: &str| {
        let error = Sqlite::open(path, Access::Write).and_then(|mut sqlite| sqlite.standing()).err().ok_or("not refused")?;
        assert!(error.class == Class::Stop && error.message.contains(words), "{error}");
        Outcome::Ok(())
    };
    refused(&store.path().join("missing/store.sqlite"), "there is no folder")?;
    refused(store.path().parent().ok_or("no folder")?, "is a folder")?;
    std::fs::write(store.path(), "a text file, and a long one, so that it has something in place of the header: ".repeat(40))?;
    refused(&store.path(), "no SQLite database")
}

#[test]
fn a_row_that_the_file_refuses_is_rejected_and_the_writer_goes_on() -> Outcome {
    let store = InFile::new()?;
    let mut sink = store.open(Access::Write)?;
    let mut writer = begin(&mut *sink, &run(Uuid::new_v4(), epoch(1), Need::Changes))?;
    store.sql("CREATE TRIGGER no BEFORE INSERT ON artists WHEN new.data_id = '2' BEGIN SELECT raise(ABORT, 'refused'); END")?;
    let error = writer.write(&batch(1, vec![artist(1, Verdict::Insert, "A"), artist(2, Verdict::Insert, "A")]), 0).err().ok_or("taken")?;
    assert!(error.class == Class::Reject && error.message.contains("artist 2"), "{error}");
    assert_eq!(writer.write(&batch(2, vec![artist(1, Verdict::Insert, "A")]), 0)?.tally.inserted, 1);
    Ok(())
}
