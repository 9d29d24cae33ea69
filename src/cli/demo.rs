//! `discodiff demo`: two small months that are built in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use rusqlite::{Connection, OpenFlags};

use super::exit::Exit;
use super::{open, output, report};
use crate::demo;
use crate::disk;
use crate::model::Kind;
use crate::refresh::refresh;
use crate::sinks::Access;
use crate::state::Location;

use crate::settings::{Flags, Key, Mistakes, Origin, OutputFlags, Settings, StateFlags, load};

const EXAMPLES: &str = "\
Examples:
  discodiff demo
      apply both months to SQLite in a folder of their own, discodiff-demo, and show what changed
  discodiff demo --state somewhere --json";

/// What `discodiff demo` takes.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// The state.
    #[command(flatten)]
    pub state: StateFlags,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputFlags,
}

impl DemoArgs {
    /// The settings, or everything that is wrong with them.
    pub fn settings(&self) -> Result<Settings, Mistakes> {
        let mut flags = Flags::of(&[&self.state, &self.output]);
        // The demo is the same everywhere and touches nothing of anyone's: sinks and a state named elsewhere are not for it.
        flags.give(Key::Null, Some("true"));
        let mut settings = load(&flags)?;
        (settings.null, settings.dumps, settings.kafka) = (false, None, false);
        if settings.origin(Key::State) != Origin::Flag {
            settings.state = Some(Location::Folder("discodiff-demo".into()));
        }
        folder(&settings)?;
        Ok(settings)
    }
}

/// Says that a folder is the demo's, so that it may be emptied when the demo begins anew.
const MARK: &str = "this-is-a-demo";

/// The folder in which all is made.
fn folder(settings: &Settings) -> Result<&PathBuf, Mistakes> {
    settings.state()?.folder().ok_or_else(|| {
        let mut mistakes = Mistakes::default();
        mistakes.add(Key::State.flag(), "the demo keeps all that it makes in a folder: name one");
        mistakes
    })
}

/// Applies both months to a new state, and shows what changed from the first to the second.
pub fn run(settings: &Settings) -> anyhow::Result<Exit> {
    let folder = folder(settings)?;
    prepare(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    let dumps = folder.join("dumps");
    demo::unpack(&dumps).with_context(|| format!("cannot write to {}", dumps.display()))?;
    let mut runs = Vec::new();
    for (month, _) in demo::MONTHS {
        let request = open::request(settings, &Arc::default())?;
        runs.push(refresh(&request, &dumps.join(month), || open::sinks(settings, Access::Write))?);
    }
    if settings.json {
        output::json(&runs.iter().map(|run| &run.report).collect::<Vec<_>>())?;
    } else {
        for run in &runs {
            output::line(&report::table(run))?;
        }
        output::text(&changed(folder)?)?;
    }
    for note in runs.iter().flat_map(|run| report::notes(&run.notes)) {
        tracing::warn!("{note}");
    }
    Ok(if runs.iter().all(|run| run.is_clean()) { Exit::Complete } else { Exit::Incomplete })
}

/// An empty folder, or the demo's own of an earlier time, emptied.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    disk::create_folder(folder)?;
    let mark = folder.join(MARK);
    if mark.exists() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    } else if fs::read_dir(folder)?.next().is_some() {
        anyhow::bail!("it is not empty, and not from an earlier demo: name another folder with --state");
    }
    Ok(fs::write(mark, "Made by `discodiff demo`, which empties this folder when it runs again.\n")?)
}

/// A few of the changes, as any reader of the store finds them.
fn changed(folder: &Path) -> anyhow::Result<String> {
    let store = folder.join("discodiff.sqlite");
    let connection = Connection::open_with_flags(&store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut text = "What changed in the second month, from the table `changes`:\n".to_owned();
    for kind in Kind::ALL {
        let sql = format!(
            "SELECT c.op, c.id, coalesce(json_extract(d.data, '$.name'), json_extract(d.data, '$.title'), ''), coalesce(c.fields, '')
             FROM changes c LEFT JOIN {} d ON d.data_id = c.id
             WHERE c.epoch = (SELECT max(epoch) FROM changes) AND c.kind = ?1
               AND (SELECT count(*) FROM changes b WHERE (b.epoch, b.kind, b.op) = (c.epoch, c.kind, c.op) AND CAST(b.id AS INT) < CAST(c.id AS INT)) < 2
             ORDER BY c.op, CAST(c.id AS INT)",
            kind.plural()
        );
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([kind.name()])?;
        while let Some(row) = rows.next()? {
            let (op, id, name, fields): (String, String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let fields =
                if fields.is_empty() { String::new() } else { format!("  {}", fields.replace(['[', ']', '"'], "").replace(',', ", ")) };
            text += format!("  {op:<6} {:<7} {id:>4}  {name}{fields}", kind.name()).trim_end();
            text.push('\n');
        }
    }
    text += &format!("\nLook around:  sqlite3 {0} 'SELECT * FROM changes'\n", store.display());
    text += &format!("              discodiff status --state {0}\n              discodiff verify --state {0}\n", folder.display());
    Ok(text)
}
