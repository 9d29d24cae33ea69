//! What PostgreSQL alone promises.

use uuid::Uuid;

use super::harness::*;
use crate::model::{Kind, Verdict};
use crate::sinks::postgres::{Postgres, TlsFiles};
use crate::sinks::{Access, Class, Need};

fn in_database(test: impl FnOnce(&InDatabase) -> Outcome) -> Outcome {
    InDatabase::new()?.map_or(Ok(()), |store| test(&store))
}

/// Ends backends of the test's database but the one that asks.
fn kill(store: &InDatabase, which: &str) -> Outcome {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'discodiff' AND {which}"
    );
    assert!(!store.sql(&sql)?.is_empty(), "nobody to end");
    std::thread::sleep(std::time::Duration::from_millis(200));
    Ok(())
}

#[test]
fn a_lost_backend_is_tried_again_and_the_batch_written_once() -> Outcome {
    in_database(|store| {
        let run = run(Uuid::new_v4(), epoch(1), Need::Changes);
        let mut sink = store.open(Access::Write)?;
        let mut writer = begin(&mut *sink, &run)?;
        writer.write(&batch(1, vec![artist(1, Verdict::Insert, "A")]), 0)?;
        kill(store, "query LIKE 'COMMIT%'")?;
        // noticed while idle: written on a new connection; noticed while writing: the class of the error says so
        let two = batch(2, vec![artist(2, Verdict::Insert, "A")]);
        let written = writer.write(&two, 0).or_else(|error| {
            assert_eq!(error.class, Class::Retry, "{error}");
            writer.write(&two, 1)
        })?;
        assert_eq!(written.tally.inserted, 1);
        assert_eq!(store.sql("SELECT count(*) FROM changes")?, [["2"]]);
        Ok(())
    })
}

#[test]
fn a_backend_lost_in_the_middle_of_a_batch_is_of_class_retry() -> Outcome {
    in_database(|store| {
        let run = run(Uuid::new_v4(), epoch(1), Need::Changes);
        let mut sink = store.open(Access::Write)?;
        let mut writer = begin(&mut *sink, &run)?;
        writer.write(&batch(1, vec![]), 0)?;
        let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(20); RETURN new; END';
                    CREATE TRIGGER slow BEFORE INSERT ON artists FOR EACH ROW EXECUTE FUNCTION slow()";
        store.sql(slow)?;
        let two = batch(2, vec![artist(2, Verdict::Insert, "A")]);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| (writer.write(&two, 0), writer));
            std::thread::sleep(std::time::Duration::from_secs(1));
            kill(store, "query LIKE 'COPY artists%'")?;
            store.sql("DROP TRIGGER slow ON artists")?;
            let (result, mut writer) = first.join().map_err(|_| "the writer's thread died")?;
            let error = result.err().ok_or("it was written")?;
            assert_eq!(error.class, Class::Retry, "{error}");
            assert_eq!(writer.write(&two, 1)?.tally.inserted, 1);
            Ok(())
        })
    })
}

#[test]
fn a_run_completes_though_its_control_connection_was_lost() -> Outcome {
    in_database(|store| {
        let run = run(Uuid::new_v4(), epoch(1), Need::Changes);
        let mut sink = store.open(Access::Write)?;
        drop(sink.begin(&run)?);
        kill(store, "true")?;
        sink.complete(&run, &ends(&run))?;
        assert_eq!(sink.standing()?.kinds[Kind::Artist], Some(run.epoch));
        Ok(())
    })
}

#[test]
fn a_second_run_is_told_who_holds_the_database() -> Outcome {
    in_database(|store| {
        let first = store.open(Access::Write)?;
        let holder = store.sql(
            "SELECT pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND datname = current_database()",
        )?;
        let error = store.open(Access::Write).err().ok_or("two runs at once")?;
        assert!(
            error.class == Class::Stop && error.message.contains(&format!("backend {}, application 'discodiff'", holder[0][0])),
            "{error}"
        );
        store.open(Access::Read)?;
        drop(first);
        store.open(Access::Write)?;
        Ok(())
    })
}

#[test]
fn a_document_that_the_server_refuses_is_rejected_and_the_writer_goes_on() -> Outcome {
    in_database(|store| {
        let mut sink = store.open(Access::Write)?;
        let mut writer = begin(&mut *sink, &run(Uuid::new_v4(), epoch(1), Need::Changes))?;
        for refused in [r#"{"id":"2","name":"\u0000"}"#, "{\"id\":\"2\",\"name\":\"\0\"}", "no json"] {
            let changes = vec![artist(1, Verdict::Insert, "A"), with(Kind::Artist, 2, Verdict::Insert, refused)];
            let error = writer.write(&batch(1, changes), 0).err().ok_or("taken")?;
            assert_eq!(error.class, Class::Reject, "{error}");
        }
        assert_eq!(writer.write(&batch(1, vec![artist(1, Verdict::Insert, "A")]), 0)?.tally.inserted, 1);
        Ok(())
    })
}

#[test]
fn what_cannot_be_connected_to_is_named_and_the_password_is_not() -> Outcome {
    in_database(|store| {
        let told = |url: &str, password: &str, words: [&str; 2]| {
            let error = Postgres::open(url, Some(password), &TlsFiles::default(), Access::Write).err().ok_or("connected")?;
            let text = error.to_string();
            assert!(error.class == Class::Stop && words.iter().all(|word| text.contains(word)), "{text}");
            assert!(!text.contains("hush"), "{text}");
            Outcome::Ok(())
        };
        told(&store.url(&store.name), "hush", ["check both", &store.name])?;
        told(&store.url("discodiff_missing"), &store.password(), ["CREATE DATABASE", "discodiff_missing"])?;
        told("postgres://me@127.0.0.1:1/music", "hush", ["check host and port", "music at 127.0.0.1:1 as user me"])?;
        told("postgres://me:hush@127.0.0.1:1/music?sslmode=require", "hush", ["127.0.0.1:1", "me"])
    })
}

#[test]
fn writers_of_all_workers_write_at_once() -> Outcome {
    in_database(|store| {
        let mut run = run(Uuid::new_v4(), epoch(1), Need::Everything);
        run.peers.workers = 4;
        let mut sink = store.open(Access::Write)?;
        let writers = sink.begin(&run)?;
        assert_eq!(writers.len(), 4);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0u64..)
                .zip(writers)
                .map(|(n, mut writer)| {
                    scope.spawn(move || {
                        let changes = (1..=500).map(|id| artist(id * 4 + n, Verdict::Insert, "A")).collect();
                        writer.write(&batch(1, changes), 0)
                    })
                })
                .collect();
            for thread in threads {
                assert_eq!(thread.join().map_err(|_| "a writer's thread died")??.tally.inserted, 500);
            }
            Outcome::Ok(())
        })?;
        assert_eq!(store.sql("SELECT count(*) FROM artists")?, [["2000"]]);
        Ok(())
    })
}
