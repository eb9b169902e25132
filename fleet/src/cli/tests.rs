use super::*;
use clap::CommandFactory as _;

#[test]
fn the_command_line_is_sound_and_its_help_names_every_command() {
    let mut command = Cli::command();
    command.clone().debug_assert();
    let help = command.render_help().to_string();
    for subcommand in command.get_subcommands() {
        let line =
            format!("\n  {:<11} {}", subcommand.get_name(), subcommand.get_about().expect("about"));
        assert!(help.contains(&line), "{line}\n{help}");
    }
}

#[test]
fn no_variable_counts_as_a_flag_that_was_used() {
    let mut command = Cli::command();
    command.build();
    let commands = command.get_subcommands().chain([&command]);
    let read = commands.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_env);
    assert_eq!(read.count(), 0);
}

#[test]
fn the_help_of_a_command_shows_its_own_flags_before_those_of_all() {
    let mut command = Cli::command();
    command.build();
    for subcommand in command.get_subcommands_mut() {
        let help = subcommand.render_help().to_string();
        let (own, global) = help.split_once("\nGlobal Options:\n").expect("a heading");
        assert!(own.contains("\nOptions:\n") && !own.contains("--config"), "{help}");
        assert!(global.contains("--config") && global.contains("--namespace"), "{help}");
    }
}
