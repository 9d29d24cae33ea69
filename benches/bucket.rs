//! Files of a state in a bucket, written and read, against the same number of bytes put and got by the client alone, on the server that
//! `DISCODIFF_TEST_S3` names.
//!
//! ```sh
//! scripts/services.sh start s3 && export $(scripts/services.sh env s3) && cargo bench --bench bucket
//! ```
//!
//! `RECORDS` (5,000,000) says how many fingerprints.

#[expect(dead_code, reason = "benches of what is on disk need more of it")]
#[path = "gauge.rs"]
mod gauge;

use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use discodiff::model::{Fingerprint, Key, Kind, Seat};
use discodiff::state::{Location, Manifest, Part, PartWriter, Row, Rows, Storage};
use futures_util::TryStreamExt;
use gauge::{Memory, by_turns};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt, WriteMultipart};
use tokio::runtime::{Builder, Runtime};

const BUCKET: &str = "states";

/// Bytes of a part that the client alone sends.
const PART: usize = 8 << 20;

fn main() -> ExitCode {
    let Ok(endpoint) = std::env::var("DISCODIFF_TEST_S3") else {
        println!("skipped: DISCODIFF_TEST_S3 is not set (scripts/services.sh start s3, then env)");
        return ExitCode::SUCCESS;
    };
    // The program reads where and as whom from its environment, which a process may not change once it has threads.
    let done = if std::env::var_os("AWS_ENDPOINT_URL").is_some() { measure() } else { again(&endpoint) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn again(endpoint: &str) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_ACCESS_KEY_ID", "discodiff");
    let status = command.env("AWS_SECRET_ACCESS_KEY", std::env::var("DISCODIFF_TEST_S3_PASSWORD")?).status()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

fn measure() -> Result<()> {
    let records: u64 = std::env::var("RECORDS").map_or(Ok(5_000_000), |records| records.parse().context("RECORDS is not a number"))?;
    let prefix = format!("bench-{}", std::process::id());
    let storage = Storage::open(&Location::parse(format!("s3://{BUCKET}/{prefix}").as_ref()).context("a place")?, &Arc::default())?;
    let alone = Alone::new(&prefix)?;
    let bytes = records as usize * <(Key, Fingerprint)>::SIZE;
    println!("| time | MB | seconds | MB/s | the client alone, MB/s | ratio |\n| --- | ---: | ---: | ---: | ---: | ---: |");
    let memory = Memory::begin()?;
    let (manifest, _) = by_turns("fingerprints written", bytes, || written(&storage, records), || alone.put(bytes))?;
    let wrote = memory.taken()?;
    let memory = Memory::begin()?;
    by_turns("fingerprints read", bytes, || read(&storage, &manifest), || alone.get())?;
    let read = memory.taken()?;
    println!("\nMemory at most: {:.0} MB more while writing, {:.0} MB more while reading.", wrote.peak / 1e6, read.peak / 1e6);
    alone.clean(&prefix)
}

fn written(storage: &Storage, records: u64) -> Result<Manifest> {
    let mut manifest = Manifest { generation: 1, ..Manifest::new() };
    let mut writer = PartWriter::create(storage, manifest.state, manifest.generation, Seat::ALONE)?;
    for id in 1..=records {
        let key = Key::new(Kind::Release, id).context("a key")?;
        let mixed = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        writer.push((key, Fingerprint { raw: mixed, document: mixed.rotate_left(21), graph: mixed.rotate_left(42) }))?;
    }
    manifest.parts = vec![writer.finish()?];
    Ok(manifest)
}

fn read(storage: &Storage, manifest: &Manifest) -> Result<()> {
    let parts: &[Part] = &manifest.parts;
    let mut rows = Rows::<(Key, Fingerprint)>::open(storage, manifest, parts)?;
    let mut number = 0;
    while rows.next()?.is_some() {
        number += 1;
    }
    ensure!(number == parts[0].rows, "{number} rows");
    Ok(())
}

/// The client without the state.
struct Alone {
    store: AmazonS3,
    runtime: Runtime,
    object: Path,
}

impl Alone {
    fn new(prefix: &str) -> Result<Alone> {
        let client = ClientOptions::new().with_allow_http(true).with_timeout_disabled();
        let store = AmazonS3Builder::from_env().with_bucket_name(BUCKET).with_client_options(client).build()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Alone { store, runtime, object: Path::from(prefix).join("alone") })
    }

    fn put(&self, bytes: usize) -> Result<()> {
        let part = Bytes::from(vec![7; PART]);
        self.runtime.block_on(async {
            let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(&self.object).await?, PART);
            for from in (0..bytes).step_by(PART) {
                upload.wait_for_capacity(2).await?;
                upload.put(part.slice(..PART.min(bytes - from)));
            }
            upload.finish().await?;
            Ok(())
        })
    }

    fn get(&self) -> Result<()> {
        self.runtime.block_on(async {
            let mut stream = self.store.get(&self.object).await?.into_stream();
            while stream.try_next().await?.is_some() {}
            Ok(())
        })
    }

    fn clean(&self, prefix: &str) -> Result<()> {
        self.runtime.block_on(async {
            use object_store::ObjectStore;
            let all: Vec<_> = self.store.list(Some(&Path::from(prefix))).try_collect().await?;
            for object in all {
                self.store.delete(&object.location).await?;
            }
            Ok(())
        })
    }
}
