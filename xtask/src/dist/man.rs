//! The manual pages: those of the commands as their programs write them, those of the files as they lie in packaging/man.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::build;
use crate::install::{self, Purpose};
use crate::shell::{cargo_command, checkout_root, program_command, read_output, run};

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Where to write them instead of `target/man`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// `cargo xtask man`.
pub(crate) fn make_man_pages(arguments: &ManArguments) -> Result<()> {
    install::ensure_tools(Purpose::Build)?;
    run(&mut cargo_command(&["build", "--package", "musterd", "--package", "musterctl"]))?;
    let target = build::target_directory()?;
    let directory = arguments.output.clone().unwrap_or_else(|| target.join("man"));
    write_man_pages(&target.join("debug"), &directory)?;
    eprintln!("man: the pages are in {}", directory.display());
    Ok(())
}

/// Makes the pages with the programs in `binaries`, and has groff read each of them.
pub(super) fn write_man_pages(binaries: &Path, directory: &Path) -> Result<()> {
    install::ensure_tools(Purpose::Man)?;
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory)?;
    let absolute = directory.canonicalize()?;
    for (name, option) in [("musterctl", "man"), ("musterd", "--man")] {
        let path = binaries.join(name).canonicalize()?;
        read_output(program_command(&path.to_string_lossy(), &[option]).arg(&absolute))?;
    }
    for page in fs::read_dir(checkout_root().join("packaging/man"))? {
        let page = page?;
        fs::copy(page.path(), directory.join(page.file_name()))?;
    }
    for page in fs::read_dir(directory)? {
        check_page(&page?.path())?;
    }
    Ok(())
}

/// Fails on groff's warnings: what it warns of would be missing, or in the wrong place, on somebody's screen.
fn check_page(page: &Path) -> Result<()> {
    let mut groff = program_command("groff", &["-man", "-ww", "-z", "-Tutf8"]);
    let read = groff.arg(page).output().context("cannot run groff")?;
    if !read.status.success() || !read.stderr.is_empty() {
        bail!("{}: {}", page.display(), String::from_utf8_lossy(&read.stderr).trim_end());
    }
    Ok(())
}
