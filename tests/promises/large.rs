//! What takes too long or too much for every run of the tests: `./soak.sh MINUTES --large` runs it. Each prints what it measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::harness::{Database, Home, Ran, assert_same, program};

/// A folder of generated months, gone at the end.
struct Months(PathBuf);

impl Months {
    fn new(releases: &str) -> Months {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("large-{releases}-{}", std::process::id()));
        let generate = program(Path::new(".")).arg("generate").arg(&out).args(["--months", "2", "--releases", releases]).output();
        assert!(generate.expect("it starts").status.success());
        Months(out)
    }

    fn month(&self, month: &str) -> PathBuf {
        self.0.join(month)
    }
}

impl Drop for Months {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A control group that bounds the memory of the processes in it, where the machine has such; else a bound of their data.
struct Bound(Option<PathBuf>);

impl Bound {
    fn of(bytes: u64) -> Bound {
        let group = Path::new("/sys/fs/cgroup/memory").join(format!("discodiff-{}", std::process::id()));
        let made = fs::create_dir(&group).and_then(|()| fs::write(group.join("memory.limit_in_bytes"), bytes.to_string()));
        Bound(made.is_ok().then_some(group))
    }

    fn run(&self, home: &Home, bytes: u64, line: &str, dumps: &Path) -> Ran {
        let command = home.command(line);
        let (enter, how) = match &self.0 {
            Some(group) => (format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display()), "a control group"),
            None => (format!("exec prlimit --data={bytes} \"$@\""), "a bound of its data"),
        };
        let mut bounded = Command::new("bash");
        bounded.args(["-c", &enter, "bash"]).arg(command.get_program()).args(command.get_args()).arg("--dumps").arg(dumps);
        bounded.current_dir(home.path(".")).env_remove("DISCODIFF_SOAK").stdin(Stdio::null());
        println!("large: {line}, in {} MiB by {how}", bytes >> 20);
        Ran::of(&bounded.output().expect("bash"))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.0.iter().for_each(|group| drop(fs::remove_dir(group)));
    }
}

#[test]
#[ignore = "some ten minutes: ./soak.sh MINUTES --large"]
fn a_million_releases_are_loaded_and_refreshed_in_one_gibibyte() {
    const GIBIBYTE: u64 = 1 << 30;
    let (home, months, bound) = (Home::new(), Months::new("1000000"), Bound::of(GIBIBYTE));
    for month in ["2026-01", "2026-02"] {
        let begun = Instant::now();
        let ran = bound.run(&home, GIBIBYTE, "refresh --json --state state -w 2", &months.month(month));
        let report = ran.json(0);
        let (release, elapsed) = (&report["kinds"]["release"], begun.elapsed().as_secs());
        println!(
            "large: {month}: {} releases, {} new, {} changed, {} gone, {elapsed} s",
            release["received"], release["inserted"], release["updated"], release["deleted"]
        );
    }
    let verified = home.run("verify --state state --json").json(0);
    assert_eq!(verified["equal"], true);
}

#[test]
#[ignore = "minutes: ./soak.sh MINUTES --large"]
fn of_a_run_that_is_killed_no_more_than_a_checkpoint_interval_is_done_again() {
    const INTERVAL: Duration = Duration::from_secs(1);
    let Some(undisturbed) = Database::new() else { return };
    let (home, months) = (Home::new(), Months::new("100000"));
    let month = months.month("2026-01");
    let run = |state: &str, database: &Database| {
        let seconds = INTERVAL.as_secs();
        home.refreshing(&month, &format!("--checkpoint-interval {seconds} --state {state} --postgres {}", database.url()))
    };
    let begun = Instant::now();
    Ran::of(&run("undisturbed", &undisturbed).output().expect("it starts")).json(0);
    let whole = begun.elapsed();
    for part in [0.3, 0.5, 0.7, 0.9] {
        let (state, database) = (format!("killed-{part}"), Database::new().expect("a server"));
        let mut child = run(&state, &database).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let begun = Instant::now();
        sleep(whole.mul_f64(part));
        let checkpoint = fs::metadata(home.path(&format!("{state}/checkpoint"))).expect("a checkpoint");
        child.kill().expect("SIGKILL");
        child.wait().expect("ended");
        let before = begun.elapsed();
        let lost = checkpoint.modified().ok().and_then(|at| at.elapsed().ok()).expect("a time");
        let begun = Instant::now();
        let report = Ran::of(&run(&state, &database).output().expect("it starts")).json(0);
        let after = begun.elapsed();
        assert!(!report["resumed_from"].is_null(), "it goes on where it was");
        println!(
            "large: killed after {:.1} s of {:.1} s, {:.1} s after its last checkpoint; the interval is {INTERVAL:?}. Taken up at {} {}, \
             {:.1} s until the end: {:.1} s more in all, beginning and reading up to there included",
            before.as_secs_f64(),
            whole.as_secs_f64(),
            lost.as_secs_f64(),
            report["resumed_from"]["kind"].as_str().unwrap_or_default(),
            report["resumed_from"]["records"],
            after.as_secs_f64(),
            (before + after).as_secs_f64() - whole.as_secs_f64(),
        );
        // What is noted, and how long a busy disk takes for it.
        assert!(lost < 2 * INTERVAL, "{lost:?}");
        assert_same(&database.rows(), &undisturbed.rows(), "PostgreSQL");
    }
}
