//! One idea: a month costs what changed in it.
//!
//! Two dumps of ten labels are refreshed into a feed. The second is the first but for one label changed, one gone and one new (and one
//! written with other white space, which changes its bytes and not its document), so the feed's second epoch has three lines.
//!
//! ```text
//! cargo run --release --example diff_two_dumps
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use discodiff::refresh::{Allowed, Refreshed, Request, refresh};
use discodiff::sinks::Sink;
use discodiff::sinks::feed::Feed;
use discodiff::sources::BlockSize;
use discodiff::telemetry::{Progress, Style};

const NOVEMBER: &str = "<labels>
<label><id>1</id><name>Planet E</name><data_quality>Correct</data_quality></label>
<label><id>2</id><name>Earthtones</name></label>
<label><id>3</id><name>Seasons</name></label>
<label><id>4</id><name>Siesta</name></label>
<label><id>5</id><name>Svek</name><urls><url>http://svek.example.com</url></urls></label>
<label><id>6</id><name>Trax</name></label>
<label><id>7</id><name>Nu Groove</name></label>
<label><id>8</id><name>Guidance</name><parentLabel id=\"6\">Trax</parentLabel></label>
<label><id>9</id><name>Classic</name></label>
<label><id>10</id><name>Peacefrog</name></label>
</labels>
";

const DECEMBER: &str = "<labels>
<label><id>1</id><name>Planet E</name><data_quality>Correct</data_quality></label>
<label><id>2</id><name> Earthtones </name></label>
<label><id>3</id><name>Seasons Recordings</name></label>
<label><id>4</id><name>Siesta</name></label>
<label><id>5</id><name>Svek</name><urls><url>http://svek.example.com</url></urls></label>
<label><id>6</id><name>Trax</name></label>
<label><id>8</id><name>Guidance</name><parentLabel id=\"6\">Trax</parentLabel></label>
<label><id>9</id><name>Classic</name></label>
<label><id>10</id><name>Peacefrog</name></label>
<label><id>11</id><name>Playhouse</name></label>
</labels>
";

fn main() -> Result<()> {
    let folder = Scratch(std::env::temp_dir().join(format!("diff-two-dumps-{}", std::process::id())));
    let feed = folder.0.join("changes.jsonl");

    let first = apply(&folder.0, "20251101", NOVEMBER, &feed)?;
    let length = fs::metadata(&feed)?.len() as usize;
    let second = apply(&folder.0, "20251201", DECEMBER, &feed)?;

    for refreshed in [&first, &second] {
        println!("{}: {}", refreshed.report.snapshot, serde_json::to_string(&refreshed.report.kinds)?);
    }
    println!("\nWhat the feed says of the second month:");
    print!("{}", &fs::read_to_string(&feed)?[length..]);
    Ok(())
}

/// Brings the feed to one month's dump. The state, which the next month is compared with, is kept in a folder beside it.
fn apply(folder: &Path, date: &str, xml: &str, feed: &Path) -> Result<Refreshed> {
    let dumps = folder.join(date);
    fs::create_dir_all(&dumps)?;
    fs::write(dumps.join(format!("discogs_{date}_labels.xml")), xml)?;
    let request = Request {
        state: folder.join("state").into(),
        workers: 1,
        cluster: None,
        block: BlockSize::default(),
        memory: 64 << 20,
        delete_limit_percent: 1.0,
        reject_limit_percent: 100.0,
        allowed: Allowed::default(),
        checkpoint_interval: Duration::from_secs(30),
        stop: Arc::default(),
        progress: Arc::new(Progress::new(Style::Quiet)),
        measures: Arc::default(),
    };
    refresh(&request, &dumps, || Ok(vec![Box::new(Feed::open(feed)?) as Box<dyn Sink>]))
}

/// A folder that is gone when the example has ended.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
