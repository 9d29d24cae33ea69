//! What both stores promise.

use uuid::Uuid;

use super::harness::*;
use crate::model::{Change, DeadLetter, Digest, Kind, PerKind, Verdict};
use crate::sinks::{Access, Batch, Class, Epoch, KindEnd, Need, Tally};

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod kept_by_sqlite {
            use super::*;
            $(#[test] fn $name() -> Outcome { super::$name(&InFile::new()?) })*
        }
        mod kept_by_postgres {
            use super::*;
            $(#[test] fn $name() -> Outcome { InDatabase::new()?.map_or(Ok(()), |store| super::$name(&store)) })*
        }
    };
}

promises!(
    a_store_tells_what_was_begun_and_what_was_applied,
    a_store_that_is_not_there_reads_as_empty,
    a_kind_in_which_nothing_changed_keeps_its_epoch,
    a_kind_that_ended_behind_stays_behind,
    a_kind_half_applied_by_an_abandoned_epoch_is_behind,
    unchanged_rows_are_never_rewritten,
    a_current_store_gets_the_states_verdicts,
    a_store_that_is_brought_up_notes_only_what_differed,
    applying_an_epoch_again_changes_nothing_and_tells_the_same_fields,
    a_batch_that_was_committed_unnoticed_is_not_written_again,
    a_batch_may_hold_all_kinds,
    tables_with_data_of_others_are_refused_and_left_alone,
    tables_with_columns_of_others_are_refused,
    empty_tables_of_the_right_shape_are_taken_over,
    a_store_of_a_newer_program_is_refused,
    a_store_of_another_state_says_so_and_is_not_begun,
    a_writer_of_an_older_run_stops,
    ids_that_no_record_can_have_are_removed_and_counted,
    odd_texts_survive,
    titles_of_5_and_100_kb_load,
    documents_are_fetched_by_id,
    dead_letters_are_kept_once,
    a_kind_that_was_not_read_whole_clears_only_letters_of_what_was_heard_of_again,
);

fn op_rows(store: &dyn Store) -> Result<Vec<Vec<String>>, Box<dyn std::error::Error>> {
    store.sql("SELECT epoch, kind, id, op, fields FROM changes ORDER BY epoch, kind, id")
}

fn tally(inserted: u64, updated: u64, deleted: u64) -> Tally {
    Tally { inserted, updated, deleted }
}

fn a_store_tells_what_was_begun_and_what_was_applied(store: &dyn Store) -> Outcome {
    let (state, first) = (Uuid::new_v4(), epoch(1));
    let run = run(state, first, Need::Everything);
    let mut sink = store.open(Access::Write)?;
    assert_eq!(sink.standing()?.state, None);
    let mut writer = begin(&mut *sink, &run)?;
    let standing = sink.standing()?;
    assert_eq!((standing.state, standing.begun[Kind::Label], standing.kinds[Kind::Label]), (Some(state), Some(first), None));
    assert_eq!(writer.write(&batch(1, vec![artist(1, Verdict::Insert, "A")]), 0)?.tally, tally(1, 0, 0));
    drop(writer);
    sink.complete(&run, &ends(&run))?;
    sink.close()?;
    drop(sink);
    let standing = store.open(Access::Read)?.standing()?;
    assert_eq!((standing.state, standing.begun[Kind::Label], standing.kinds[Kind::Label]), (Some(state), None, Some(first)));
    let noted = store.sql(
        "SELECT epoch, month, file, records, deletes_withheld, rejected FROM snapshots WHERE kind = 'artist' AND completed_at IS NOT NULL",
    )?;
    assert_eq!(noted, [["1", "2025-12", "discogs_20251201_artists.xml.gz", "7", "1", "2"]]);
    Ok(())
}

fn a_store_that_is_not_there_reads_as_empty(store: &dyn Store) -> Outcome {
    let mut sink = store.open(Access::Read)?;
    assert_eq!(sink.standing()?.state, None);
    assert_eq!(documents(store, Kind::Artist)?, []);
    let documents = sink.documents().ok_or("no documents")?;
    assert_eq!(documents.fetch(Kind::Release, &[1])?, []);
    assert!(sink.begin(&run(Uuid::new_v4(), epoch(1), Need::Changes)).is_err());
    sink.close()?;
    Ok(())
}

fn a_kind_in_which_nothing_changed_keeps_its_epoch(store: &dyn Store) -> Outcome {
    let (state, first) = (Uuid::new_v4(), epoch(1));
    apply(store, &run(state, first, Need::Everything), vec![])?;
    let run = run(state, epoch(2), Need::Changes);
    let mut sink = store.open(Access::Write)?;
    drop(sink.begin(&run)?);
    let ends = ends(&run);
    sink.complete(&run, &crate::model::PerKind::from_fn(|kind| ends[kind].map(|end| crate::sinks::KindEnd { epoch: first, ..end })))?;
    let standing = sink.standing()?;
    assert_eq!((standing.kinds[Kind::Label], standing.begun[Kind::Label]), (Some(first), None));
    Ok(())
}

fn a_kind_that_ended_behind_stays_behind(store: &dyn Store) -> Outcome {
    let (state, first) = (Uuid::new_v4(), epoch(1));
    apply(store, &run(state, first, Need::Everything), vec![])?;
    let run = run(state, epoch(2), Need::Changes);
    let mut sink = store.open(Access::Write)?;
    drop(sink.begin(&run)?);
    let mut ends = ends(&run);
    ends[Kind::Master] = ends[Kind::Master].map(|end| crate::sinks::KindEnd { current: false, ..end });
    sink.complete(&run, &ends)?;
    let standing = sink.standing()?;
    assert_eq!((standing.kinds[Kind::Master], standing.kinds[Kind::Artist]), (Some(first), Some(run.epoch)));
    Ok(())
}

fn a_kind_half_applied_by_an_abandoned_epoch_is_behind(store: &dyn Store) -> Outcome {
    let (state, first) = (Uuid::new_v4(), epoch(1));
    apply(store, &run(state, first, Need::Everything), vec![artist(1, Verdict::Insert, "A")])?;
    let mut sink = store.open(Access::Write)?;
    let second = run(state, epoch(2), Need::Changes);
    begin(&mut *sink, &second)?.write(&batch(1, vec![artist(1, Verdict::Update, "B")]), 0)?;
    // the same epoch taken up again is no reason for anything
    drop(sink.begin(&second)?);
    assert_eq!(sink.standing()?.kinds[Kind::Artist], Some(first));
    // the next one does not read artists, which still hold a part of what was given up
    let mut third = run(state, epoch(3), Need::Everything);
    third.kinds[Kind::Artist] = None;
    third.abandoned = vec![2];
    drop(sink.begin(&third)?);
    sink.complete(&third, &ends(&third))?;
    let standing = sink.standing()?;
    assert_eq!((standing.kinds[Kind::Artist], standing.kinds[Kind::Label]), (None, Some(third.epoch)));
    assert_eq!(store.sql("SELECT DISTINCT epoch FROM snapshots WHERE abandoned")?, [["2"]]);
    Ok(())
}

fn unchanged_rows_are_never_rewritten(store: &dyn Store) -> Outcome {
    let state = Uuid::new_v4();
    apply(store, &run(state, epoch(1), Need::Everything), vec![artist(1, Verdict::Insert, "A"), artist(2, Verdict::Insert, "B")])?;
    let times = |store: &dyn Store| store.sql("SELECT data_id, updated_at FROM artists ORDER BY data_id");
    let before = times(store)?;
    std::thread::sleep(std::time::Duration::from_millis(5));
    let written =
        apply(store, &run(state, epoch(2), Need::Everything), vec![artist(1, Verdict::Unchanged, "A"), artist(2, Verdict::Update, "C")])?;
    assert_eq!(written.tally, tally(0, 1, 0));
    let after = times(store)?;
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    Ok(())
}

fn a_current_store_gets_the_states_verdicts(store: &dyn Store) -> Outcome {
    let state = Uuid::new_v4();
    let old = r#"{"id":"2","name":"B","profile":"p","urls":["x"]}"#;
    let new = r#"{"id":"2","name":"C","data_quality":"q","urls":["x"]}"#;
    let first = vec![artist(1, Verdict::Insert, "A"), with(Kind::Artist, 2, Verdict::Insert, old), artist(3, Verdict::Insert, "D")];
    apply(store, &run(state, epoch(1), Need::Everything), first)?;
    let changes = vec![
        artist(1, Verdict::Unchanged, "ignored"),
        with(Kind::Artist, 2, Verdict::Update, new),
        gone(Kind::Artist, 3),
        artist(4, Verdict::Insert, "E"),
        gone(Kind::Artist, 5),
    ];
    let written = apply(store, &run(state, epoch(2), Need::Changes), changes)?;
    assert_eq!(written.tally, tally(1, 1, 1));
    assert_eq!(written.fields, [(key(Kind::Artist, 2), ["data_quality", "name", "profile"].map(str::to_owned).to_vec())]);
    let noted: Vec<_> = op_rows(store)?.into_iter().filter(|row| row[0] == "2").map(|row| row[2..].join(" ")).collect();
    assert_eq!(noted, [r#"2 update ["data_quality","name","profile"]"#, "3 delete null", "4 insert null", "5 delete null"]);
    let rows: Vec<_> = documents(store, Kind::Artist)?.into_iter().map(|(id, hash, _)| (id, hash)).collect();
    let hash = |json: &str| Digest::of(json.as_bytes()).to_string();
    let (one, four) = (r#"{"id":"1","name":"A"}"#, r#"{"id":"4","name":"E"}"#);
    assert_eq!(rows, [("1".into(), hash(one)), ("2".into(), hash(new)), ("4".into(), hash(four))]);
    Ok(())
}

fn a_store_that_is_brought_up_notes_only_what_differed(store: &dyn Store) -> Outcome {
    let state = Uuid::new_v4();
    let first = (1..=5).map(|id| artist(id, Verdict::Insert, "A")).collect();
    apply(store, &run(state, epoch(1), Need::Everything), first)?;
    let changes = vec![
        artist(1, Verdict::Unchanged, "A"), // as it is
        artist(2, Verdict::Unchanged, "B"), // was missed
        artist(3, Verdict::Update, "A"),    // came here before
        artist(4, Verdict::Update, "B"),
        gone(Kind::Artist, 5),
        artist(6, Verdict::Unchanged, "A"), // was missed
        artist(7, Verdict::Update, "A"),    // was missed
        gone(Kind::Artist, 8),              // never was here
    ];
    let written = apply(store, &run(state, epoch(2), Need::Everything), changes)?;
    assert_eq!(written.tally, tally(2, 2, 1));
    assert_eq!(written.fields, []);
    let noted: Vec<_> = op_rows(store)?.into_iter().filter(|row| row[0] == "2").map(|row| row[2..].join(" ")).collect();
    assert_eq!(noted, [r#"2 update ["name"]"#, r#"4 update ["name"]"#, "5 delete null", "6 insert null", "7 update null"]);
    Ok(())
}

fn applying_an_epoch_again_changes_nothing_and_tells_the_same_fields(store: &dyn Store) -> Outcome {
    let (state, second) = (Uuid::new_v4(), epoch(2));
    apply(store, &run(state, epoch(1), Need::Everything), (1..=3).map(|id| artist(id, Verdict::Insert, "A")).collect())?;
    let changes = vec![artist(1, Verdict::Update, "B"), gone(Kind::Artist, 2), artist(4, Verdict::Insert, "A")];
    let all = "SELECT data_id, hash, updated_at FROM artists ORDER BY data_id";
    let noted = "SELECT epoch, kind, id, op, fields, at FROM changes ORDER BY epoch, kind, id";
    let first = apply(store, &run(state, second, Need::Changes), changes.clone())?;
    let before = (store.sql(all)?, store.sql(noted)?);
    let again = apply(store, &run(state, second, Need::Changes), changes)?;
    assert_eq!(before, (store.sql(all)?, store.sql(noted)?));
    assert_eq!((again.tally, &again.fields), (tally(0, 0, 0), &first.fields));
    assert_eq!(first.fields, [(key(Kind::Artist, 1), vec!["name".to_owned()])]);
    Ok(())
}

fn a_batch_that_was_committed_unnoticed_is_not_written_again(store: &dyn Store) -> Outcome {
    let mut sink = store.open(Access::Write)?;
    let mut writer = begin(&mut *sink, &run(Uuid::new_v4(), epoch(1), Need::Changes))?;
    let one = batch(1, vec![artist(1, Verdict::Insert, "A")]);
    let written = writer.write(&one, 0)?;
    store.sql("DELETE FROM artists")?;
    assert_eq!(writer.write(&one, 1)?, written);
    assert_eq!(store.sql("SELECT count(*) FROM artists")?, [["0"]]);
    // another batch is written, whatever the attempt
    assert_eq!(writer.write(&batch(2, vec![artist(1, Verdict::Insert, "A")]), 1)?.tally, tally(1, 0, 0));
    Ok(())
}

fn a_batch_may_hold_all_kinds(store: &dyn Store) -> Outcome {
    let mut run = run(Uuid::new_v4(), epoch(1), Need::Changes);
    run.kinds[Kind::Release] = run.kinds[Kind::Release].clone().map(|kind| crate::sinks::KindRun { need: Need::Everything, ..kind });
    let changes = Kind::ALL.into_iter().flat_map(|kind| [with(kind, 7, Verdict::Insert, r#"{"id":"7"}"#), gone(kind, 8)]).collect();
    assert_eq!(apply(store, &run, changes)?.tally, tally(4, 0, 0));
    let noted: Vec<_> = op_rows(store)?.into_iter().map(|row| row[1..4].join(" ")).collect();
    let all = ["artist 7 insert", "artist 8 delete", "label 7 insert", "label 8 delete", "master 7 insert", "master 8 delete"];
    assert_eq!(noted, [&all[..], &["release 7 insert"]].concat());
    for kind in Kind::ALL {
        assert_eq!(documents(store, kind)?.len(), 1);
    }
    Ok(())
}

fn tables_with_data_of_others_are_refused_and_left_alone(store: &dyn Store) -> Outcome {
    store.sql(
        "CREATE TABLE artists (data_id text, hash text, data text, updated_at text); INSERT INTO artists VALUES ('1', 'h', '{}', 'now')",
    )?;
    let mut sink = store.open(Access::Write)?;
    for error in [sink.standing().err(), sink.begin(&run(Uuid::new_v4(), epoch(1), Need::Everything)).err()] {
        let error = error.ok_or("not refused")?;
        assert!(
            error.class == Class::Stop && error.message.contains("foreign: table artists holds data that no discodiff wrote"),
            "{error}"
        );
    }
    sink.close()?;
    assert_eq!(store.sql("SELECT * FROM artists")?, [["1", "h", "{}", "now"]]);
    assert!(store.sql("SELECT * FROM watermarks").is_err());
    Ok(())
}

fn tables_with_columns_of_others_are_refused(store: &dyn Store) -> Outcome {
    store.sql("CREATE TABLE releases (id integer, title text)")?;
    let error = store.open(Access::Write)?.standing().err().ok_or("not refused")?;
    assert!(error.class == Class::Stop && error.message.contains("foreign: table releases has columns"), "{error}");
    Ok(())
}

fn empty_tables_of_the_right_shape_are_taken_over(store: &dyn Store) -> Outcome {
    let table = if store.sql("SELECT jsonb_typeof('1')").is_ok() {
        "CREATE TABLE artists (data_id varchar PRIMARY KEY, hash varchar NOT NULL, data jsonb NOT NULL, updated_at timestamptz)"
    } else {
        "CREATE TABLE artists (data_id text PRIMARY KEY, hash text NOT NULL, data text NOT NULL, updated_at text NOT NULL)"
    };
    store.sql(table)?;
    let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
    assert_eq!(apply(store, &run, vec![artist(1, Verdict::Insert, "A")])?.tally, tally(1, 0, 0));
    assert_eq!(documents(store, Kind::Artist)?.len(), 1);
    Ok(())
}

fn a_store_of_a_newer_program_is_refused(store: &dyn Store) -> Outcome {
    apply(store, &run(Uuid::new_v4(), epoch(1), Need::Everything), vec![])?;
    store.sql("INSERT INTO discodiff_migrations SELECT 999, 'future', applied_on, checksum FROM discodiff_migrations WHERE version = 1")?;
    let error = store.open(Access::Read)?.standing().err().ok_or("not refused")?;
    assert!(error.class == Class::Stop && error.message.contains("newer discodiff") && error.message.contains("999"), "{error}");
    Ok(())
}

fn a_store_of_another_state_says_so_and_is_not_begun(store: &dyn Store) -> Outcome {
    let (theirs, ours) = (Uuid::new_v4(), Uuid::new_v4());
    apply(store, &run(theirs, epoch(1), Need::Everything), vec![artist(1, Verdict::Insert, "A")])?;
    let mut sink = store.open(Access::Write)?;
    assert_eq!(sink.standing()?.state, Some(theirs));
    let error = sink.begin(&run(ours, epoch(1), Need::Everything)).err().ok_or("not refused")?;
    assert!(error.class == Class::Stop && error.message.contains(&theirs.to_string()), "{error}");
    Ok(())
}

fn a_writer_of_an_older_run_stops(store: &dyn Store) -> Outcome {
    let run = run(Uuid::new_v4(), epoch(1), Need::Everything);
    let mut sink = store.open(Access::Write)?;
    let mut old = begin(&mut *sink, &run)?;
    old.write(&batch(1, vec![artist(1, Verdict::Insert, "A")]), 0)?;
    let mut new = begin(&mut *sink, &run)?;
    for attempt in 0..2 {
        let error = old.write(&batch(2, vec![artist(2, Verdict::Insert, "A")]), attempt).err().ok_or("not fenced")?;
        assert!(error.class == Class::Stop && error.message.contains("another run has taken over"), "{error}");
    }
    assert!(old.stored_ids(Kind::Artist).is_err());
    new.write(&batch(1, vec![artist(3, Verdict::Insert, "A")]), 0)?;
    assert_eq!(store.sql("SELECT data_id FROM artists ORDER BY data_id")?, [["1"], ["3"]]);
    Ok(())
}

fn ids_that_no_record_can_have_are_removed_and_counted(store: &dyn Store) -> Outcome {
    let state = Uuid::new_v4();
    let first: Vec<_> = [1, 2, 1 << 40].map(|id| artist(id, Verdict::Insert, "A")).into();
    apply(store, &run(state, epoch(1), Need::Everything), first)?;
    for junk in ["0", "007", "x", "99999999999999999999"] {
        store.sql(&format!("INSERT INTO artists SELECT '{junk}', hash, data, updated_at FROM artists WHERE data_id = '1'"))?;
    }
    let mut sink = store.open(Access::Write)?;
    let mut writer = begin(&mut *sink, &run(state, epoch(2), Need::Everything))?;
    let (ids, junk) = writer.stored_ids(Kind::Artist)?;
    assert_eq!((ids.iter().collect::<Vec<_>>(), junk), (vec![1, 2, 1 << 40], 4));
    assert_eq!(writer.stored_ids(Kind::Artist)?.1, 0);
    assert_eq!(writer.stored_ids(Kind::Label)?.0.len(), 0);
    Ok(())
}

fn odd_texts_survive(store: &dyn Store) -> Outcome {
    let odd = "\u{1F3B8} 'single' \"double\" \\back\\ \ttab\nline \\N , {} \u{7f}\u{85}\u{2028}\u{FFFD} e\u{301} \u{E9} %s $1 ; --";
    let document = serde_json::json!({"id": "1", "name": odd, "urls": [odd], "unmapped": {odd: [odd]}});
    let json = document.to_string();
    apply(store, &run(Uuid::new_v4(), epoch(1), Need::Everything), vec![with(Kind::Artist, 1, Verdict::Insert, &json)])?;
    assert_eq!(documents(store, Kind::Artist)?, [("1".to_owned(), Digest::of(json.as_bytes()).to_string(), document)]);
    Ok(())
}

fn titles_of_5_and_100_kb_load(store: &dyn Store) -> Outcome {
    // a long text that does not compress: what an index holds of it is the length that counts
    let mut seed = 1u64;
    let mut long = |length: usize| -> String {
        let letter = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + 15 + ((seed >> 33) % 75) as u8).to_string().replace('\\', " ")
        };
        (0..length).map(letter).collect()
    };
    let mut changes = Vec::new();
    for (id, length) in [(1, 5_000), (2, 100_000)] {
        let text = long(length);
        for kind in Kind::ALL {
            let document = serde_json::json!({"id": id.to_string(), "name": text, "title": text, "country": text, "genres": [text], "labels": [{"name": text}]});
            changes.push(with(kind, id, Verdict::Insert, &document.to_string()));
        }
    }
    assert_eq!(apply(store, &run(Uuid::new_v4(), epoch(1), Need::Changes), changes)?.tally, tally(8, 0, 0));
    Ok(())
}

fn documents_are_fetched_by_id(store: &dyn Store) -> Outcome {
    let first = (1..=3).map(|id| artist(id, Verdict::Insert, "A")).collect();
    apply(store, &run(Uuid::new_v4(), epoch(1), Need::Everything), first)?;
    let mut sink = store.open(Access::Read)?;
    let mut found = sink.documents().ok_or("no documents")?.fetch(Kind::Artist, &[3, 1, 9])?;
    found.sort();
    let json: serde_json::Value = serde_json::from_str(&found[1].1)?;
    assert_eq!((found.len(), found[0].0, found[1].0, json), (2, 1, 3, serde_json::json!({"id": "3", "name": "A"})));
    Ok(())
}

fn dead_letters_are_kept_once(store: &dyn Store) -> Outcome {
    let run = run(Uuid::new_v4(), Epoch { number: 4, id: Uuid::new_v4() }, Need::Changes);
    let mut sink = store.open(Access::Write)?;
    let mut writer = begin(&mut *sink, &run)?;
    let mut one = batch(1, vec![]);
    one.dead_letters = vec![letter(10, "first"), letter(20, "nul \0 inside")];
    writer.write(&one, 0)?;
    let mut two = batch(2, vec![]);
    two.dead_letters = vec![letter(10, "second")];
    writer.write(&two, 0)?;
    let kept = store.sql("SELECT epoch, kind, id, file, position, stage, length(raw) FROM dead_letters ORDER BY position")?;
    assert_eq!(kept, [["4", "artist", "null", "a.xml.gz", "10", "parse", "19"], ["4", "artist", "null", "a.xml.gz", "20", "parse", "19"]]);
    assert_eq!(store.sql("SELECT reason FROM dead_letters WHERE position = 10")?, [["first"]]);
    Ok(())
}

fn a_kind_that_was_not_read_whole_clears_only_letters_of_what_was_heard_of_again(store: &dyn Store) -> Outcome {
    let state = Uuid::new_v4();
    let by_id = |position, id| DeadLetter { id: Some(id), ..letter(position, "no") };
    let written = |number: u64, whole: bool, dead_letters: Vec<DeadLetter>, changes: Vec<Change>| -> Outcome {
        let run = run(state, epoch(number), if number == 1 { Need::Everything } else { Need::Changes });
        let mut sink = store.open(Access::Write)?;
        begin(&mut *sink, &run)?.write(&Batch { dead_letters, ..batch(1, changes) }, 0)?;
        let ends = ends(&run);
        sink.complete(&run, &PerKind::from_fn(|kind| ends[kind].map(|end| KindEnd { whole, ..end })))?;
        Ok(sink.close()?)
    };
    let open = || store.sql("SELECT epoch, position FROM dead_letters WHERE cleared_epoch IS NULL ORDER BY epoch, position");
    written(1, true, vec![letter(10, "no"), letter(20, "no"), by_id(30, 5), by_id(40, 6), by_id(50, 7)], vec![])?;
    let other = DeadLetter { raw: b"other bytes".to_vec(), ..letter(20, "no") };
    written(2, false, vec![letter(10, "no"), other, by_id(99, 5)], vec![artist(6, Verdict::Insert, "Six")])?;
    assert_eq!(open()?, [["1", "20"], ["1", "50"], ["2", "10"], ["2", "20"], ["2", "99"]]);
    written(3, true, vec![], vec![])?;
    assert_eq!(open()?, [[""; 2]; 0]);
    assert_eq!(store.sql("SELECT count(*) FROM dead_letters WHERE cleared_epoch = 3")?, [["5"]]);
    let count = store.open(Access::Read)?.dead_letters().ok_or("none kept")?.count()?;
    assert_eq!((count[Kind::Artist].open, count[Kind::Artist].cleared, count[Kind::Label].cleared), (0, 8, 0));
    Ok(())
}
