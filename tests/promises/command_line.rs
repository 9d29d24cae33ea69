//! The program as a person or a script meets it.

use std::fs;
use std::process::{Command, Output};

use clap::CommandFactory;
use discodiff::cli::Cli;

use super::harness::Home;

fn discodiff(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_discodiff"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DISCODIFF_")) {
        command.env_remove(name);
    }
    command.current_dir(folder.path()).args(arguments).envs(variables.iter().copied()).output().expect("it starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn refresh_without_a_state_is_a_usage_error_that_says_what_it_is_for() {
    let output = discodiff(&["refresh", "--dumps", "."], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--state: is needed: the folder where discodiff keeps"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn mistakes_of_all_layers_are_listed_together_and_no_password_with_them() {
    let variables =
        [("DISCODIFF_WORKRES", "2"), ("DISCODIFF_POSTGRES", "postgresql://me:hunter2@db:port/x"), ("DISCODIFF_CONFIG", "none.toml")];
    let output = discodiff(&["refresh", "--memory", "lots"], &variables);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    for place in ["6 mistakes", "DISCODIFF_CONFIG", "DISCODIFF_WORKRES", "DISCODIFF_POSTGRES", "--memory", "--state", "--dumps"] {
        assert!(said.contains(place), "{place} is not in {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn help_goes_to_stdout_and_is_a_success() {
    for arguments in [&["--help"][..], &["refresh", "-h"], &["--version"]] {
        let output = discodiff(arguments, &[]);
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}

/// Plays the program that panics when it is started by the test below.
#[test]
fn a_panic_on_any_thread_ends_the_process_at_once_with_status_1() {
    const ROLE: &str = "DISCODIFF_TEST_PANIC";
    if std::env::var_os(ROLE).is_some() {
        discodiff::cli::panics::end_the_process();
        let worker = std::thread::Builder::new().name("worker 7".into()).spawn(|| panic!("out of luck")).expect("a thread");
        let _ = worker.join();
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
    let name = "command_line::a_panic_on_any_thread_ends_the_process_at_once_with_status_1";
    let myself = std::env::current_exe().expect("this program");
    let output = Command::new(myself).args(["--exact", name, "--nocapture"]).env(ROLE, "1").output().expect("it starts");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in
        ["thread worker 7 panicked at tests/promises/command_line.rs", "out of luck", "a defect of discodiff", "run the same command again"]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

/// Every command, with the words that lead to it, as it was built for the help.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    fn walk(words: &[String], command: &clap::Command, found: &mut Vec<(Vec<String>, clap::Command)>) {
        found.push((words.to_owned(), command.clone()));
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            walk(&[words, &[sub.get_name().to_owned()]].concat(), sub, found);
        }
    }
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    walk(&["discodiff".to_owned()], &root, &mut found);
    found
}

/// Its flags as they are written.
fn flags(command: &clap::Command) -> Vec<String> {
    command.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
}

fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().expect("sh").status.success();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

#[test]
fn bash_completes_every_command_and_every_flag() {
    let home = Home::new();
    fs::write(home.path("completions"), home.run("completions bash").stdout).expect("written");
    // Bash hands over the words so far, and takes what is put into COMPREPLY.
    let script = "source completions || exit 1; completer=$(complete -p discodiff | sed 's/.*-F \\([^ ]*\\).*/\\1/')
                  while read -r -a COMP_WORDS; do
                      COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
                      \"$completer\" discodiff \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; echo \"${COMPREPLY[*]}\"
                  done";
    let mut asked = Vec::new();
    for (words, command) in commands() {
        let so_far = words.join(" ");
        asked.extend(flags(&command).into_iter().map(|flag| (format!("{so_far} {flag}"), flag)));
        let subs = command.get_subcommands().map(|sub| sub.get_name().to_owned());
        asked.extend(subs.map(|name| (format!("{so_far} {}", &name[..2]), name)));
    }
    assert!(asked.len() > 200, "{}", asked.len());
    let lines: String = asked.iter().map(|(line, _)| format!("{line}\n")).collect();
    fs::write(home.path("lines"), lines).expect("written");
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script]).current_dir(home.path("")).stdin(fs::File::open(home.path("lines")).expect("there"));
    let output = bash.output().expect("bash");
    assert_eq!(stderr(&output), "");
    let answers = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(answers.lines().count(), asked.len());
    for ((line, due), answer) in asked.iter().zip(answers.lines()) {
        assert!(answer.split(' ').any(|word| word == due), "{line}: {answer}");
    }
}

#[test]
fn every_shell_takes_its_completions_and_they_are_printed_whatever_the_settings_are() {
    let home = Home::new();
    fs::write(home.path("discodiff.toml"), "wrokers = 2").expect("written");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = home.run(&format!("completions {shell}"));
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        for (words, command) in commands() {
            // Some name a flag without its dashes.
            let names = flags(&command).into_iter().map(|flag| flag.trim_start_matches('-').to_owned());
            assert!(names.chain(words.last().cloned()).all(|name| ran.stdout.contains(&name)), "{shell}: {words:?}");
        }
        if ["bash", "fish", "zsh"].contains(&shell) && installed(shell) {
            fs::write(home.path(shell), &ran.stdout).expect("written");
            let read = Command::new(shell).arg("-n").arg(home.path(shell)).output().expect("it starts");
            assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {}", stderr(&read));
        }
    }
}

#[test]
fn every_command_has_a_man_page_that_tells_all_of_its_flags_and_is_well_formed() {
    let home = Home::new();
    fs::write(home.path("discodiff.toml"), "wrokers = 2").expect("written");
    assert_eq!(home.run("man pages/man1").status, Some(0));
    let mut pages = Vec::new();
    for (words, command) in commands() {
        let name = format!("{}.1", words.join("-"));
        let page = fs::read_to_string(home.path("pages/man1").join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "");
        for flag in flags(&command) {
            assert!(plain.contains(&flag), "{name} does not tell of {flag}");
        }
        pages.push(name);
    }
    assert_eq!(fs::read_dir(home.path("pages/man1")).expect("there").count(), pages.len());
    if installed("mandoc") {
        let read = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).current_dir(home.path("pages/man1")).output();
        let read = read.expect("it starts");
        assert_eq!((String::from_utf8_lossy(&read.stdout).as_ref(), read.status.code()), ("", Some(0)));
    }
    let ran = home.run("man discodiff.toml/man1");
    ran.refused(&["cannot write man pages to discodiff.toml/man1", "a file is in the way"]);
}
