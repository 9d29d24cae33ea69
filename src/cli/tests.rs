//! What is promised about the command line.

use clap::CommandFactory;

use super::*;
use crate::settings::{Flags, Group, Key, resolve};

#[test]
fn every_command_and_flag_is_well_formed_and_explained() {
    Cli::command().debug_assert();
    let cli = Cli::command();
    for command in cli.get_subcommands().flat_map(|command| std::iter::once(command).chain(command.get_subcommands())) {
        assert!(command.get_about().is_some() && command.get_after_help().is_some(), "{}", command.get_name());
        // clap wraps at 100 columns, and a line that is wrapped loses its indentation.
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if let Some(long) = after.lines().find(|line| line.chars().count() > 100) {
            panic!("{}: {long}", command.get_name());
        }
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
        }
    }
}

#[test]
fn every_setting_but_a_password_is_a_flag_of_refresh_or_for_topics_that_are_made_of_publish() {
    let cli = Cli::command();
    for key in Key::ALL {
        let has =
            |command: &clap::Command| command.get_arguments().any(|arg| arg.get_long().map(|long| format!("--{long}")) == Some(key.flag()));
        if key == Key::KafkaPassword {
            // Command lines are seen by everybody on the machine.
            assert!(!cli.get_subcommands().any(has), "{}", key.flag());
            continue;
        }
        let command = if key == Key::Partitions { "publish" } else { "refresh" };
        assert!(cli.find_subcommand(command).is_some_and(has), "{}", key.flag());
    }
}

#[test]
fn flags_alone_are_enough() {
    let line = "discodiff refresh --dumps d --state s -w 4 --feed f --allow-deletes --json --memory 1GiB --delete-limit-percent 3 \
                --postgres postgresql://u@h/db --neo4j bolt://u@h --null=false";
    let Command::Refresh(args) = Cli::try_parse_from(line.split_whitespace()).expect("parsed").command else { panic!("refresh") };
    let groups: [&dyn Group; 5] = [&args.dumps, &args.state, &args.sinks, &args.run, &args.output];
    let settings = resolve(&Flags::of(&groups), [], None).expect("settings");
    assert_eq!((settings.workers, settings.memory, settings.delete_limit_percent), (4, 1 << 30, 3.0));
    assert!(settings.allow_deletes && settings.json && !settings.allow_older && !settings.null);
    assert_eq!(settings.dumps_dir().expect("given").to_str(), Some("d"));
    assert_eq!(settings.state().expect("given").to_string(), "s");
}

#[test]
fn a_command_refuses_flags_that_mean_nothing_to_it() {
    for line in
        ["discodiff demo --postgres x", "discodiff verify --dumps d", "discodiff status -w 2", "discodiff plan --feed f", "discodiff"]
    {
        assert_eq!(Cli::try_parse_from(line.split_whitespace()).expect_err(line).exit_code(), 2, "{line}");
    }
}
