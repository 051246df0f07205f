//! The manual pages: those of the commands as their programs write them, those of the files as they lie in packaging/man.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::build;
use crate::install::{self, For};
use crate::shell::{cargo, output, program, run, top};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to write them instead of `target/man`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// `cargo xtask man`.
pub(crate) fn man(arguments: &Arguments) -> Result<()> {
    install::ensure(For::Build)?;
    run(&mut cargo(&["build", "--package", "musterd", "--package", "musterctl"]))?;
    let target = build::target()?;
    let directory = arguments.output.clone().unwrap_or_else(|| target.join("man"));
    write(&target.join("debug"), &directory)?;
    eprintln!("man: the pages are in {}", directory.display());
    Ok(())
}

/// Makes the pages with the programs in `binaries`, and has groff read each of them.
pub(super) fn write(binaries: &Path, directory: &Path) -> Result<()> {
    install::ensure(For::Man)?;
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory)?;
    let absolute = directory.canonicalize()?;
    for (name, option) in [("musterctl", "man"), ("musterd", "--man")] {
        let path = binaries.join(name).canonicalize()?;
        output(program(&path.to_string_lossy(), &[option]).arg(&absolute))?;
    }
    for page in fs::read_dir(top().join("packaging/man"))? {
        let page = page?;
        fs::copy(page.path(), directory.join(page.file_name()))?;
    }
    for page in fs::read_dir(directory)? {
        check(&page?.path())?;
    }
    Ok(())
}

/// What groff warns of would be missing, or in the wrong place, on somebody's screen.
fn check(page: &Path) -> Result<()> {
    let mut groff = program("groff", &["-man", "-ww", "-z", "-Tutf8"]);
    let read = groff.arg(page).output().context("cannot run groff")?;
    if !read.status.success() || !read.stderr.is_empty() {
        bail!("{}: {}", page.display(), String::from_utf8_lossy(&read.stderr).trim_end());
    }
    Ok(())
}
