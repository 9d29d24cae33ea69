//! The program as a person or a script meets it.

use std::process::{Command, Output};

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
