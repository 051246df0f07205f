//! `man`: the manual pages, one for the client and one for each of its commands, from the definition of the command line.
//!
//! Owns what the pages say beside it. It is run when the package is built, and hidden from everybody else.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::{Cli, EXIT_CODES};
use crate::error::Error;

/// The end of every page.
const SEE_ALSO: &str = ".BR musterd (8),\n.BR muster.unit (5),\n.BR muster.toml (5)\n";

/// Writes the pages into the directory.
pub(crate) fn write_manual(directory: &Path) -> Result<ExitCode, Error> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    manual_pages(directory, command)
        .map_err(|source| Error::Write { path: directory.to_owned(), source })?;
    Ok(ExitCode::SUCCESS)
}

/// The page of a command and those of its own commands.
fn manual_pages(directory: &Path, command: clap::Command) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        manual_pages(directory, command.clone())?;
    }
    let top = command.get_bin_name().is_none_or(|name| name == "musterctl");
    let parent = command.get_display_name().and_then(|name| name.rsplit_once('-'));
    let parent = parent.map(|(parent, _)| format!(".BR {parent} (1),\n"));
    let has_commands = command.has_subcommands();
    let page = Man::new(command).manual("Muster").source("Muster");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if has_commands {
        page.render_subcommands_section(&mut text)?;
    }
    if top {
        let codes = EXIT_CODES.trim_start_matches("Exit codes: ");
        write!(text, ".SH \"EXIT STATUS\"\n{codes}\n")?;
    }
    let parent = parent.unwrap_or_default().replace('-', "\\-");
    write!(text, ".SH \"SEE ALSO\"\n{parent}{SEE_ALSO}")?;
    std::fs::write(directory.join(page.get_filename()), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_its_options() {
        let directory = tempfile::tempdir().unwrap();
        write_manual(directory.path()).unwrap();
        let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let mut command = Cli::command();
        command.build();
        for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            if command.get_name() == "help" {
                continue;
            }
            let text = page(&format!("musterctl-{}.1", command.get_name()));
            let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
            for option in shown.filter_map(clap::Arg::get_long) {
                let option = option.replace('-', "\\-");
                assert!(text.contains(&option), "{}: {option}", command.get_name());
            }
        }
        assert!(page("musterctl.1").contains(".SH \"EXIT STATUS\"\n0 when all went well"));
        assert!(page("musterctl-reboot-lock.1").contains(".BR musterctl\\-reboot (1)"));
        assert!(!directory.path().join("musterctl-man.1").exists());
    }
}
