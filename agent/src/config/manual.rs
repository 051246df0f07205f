//! The manual page musterd(8), from the definition of its flags.
//!
//! Owns what the page says beside them. It is written when the package is built.

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::config::Flags;

/// The part of the page that the flags do not say.
const REST: &str = r#".SH "EXIT STATUS"
0 when it was asked to stop, 1 when it could not do its work, 2 for flags that make no sense.
.SH SIGNALS
.B SIGTERM
and
.B SIGINT
end the daemon; the units it runs go on, and the next daemon adopts them as they are.
When the whole host shuts down it gives its units up first, so that other machines take them at once.
.PP
.B SIGHUP
.RB ( "systemctl reload musterd" )
makes it read its configuration again.
.B log.level
and
.B metadata
are in force at once; of other options that have changed the log says that they need a restart.
A configuration that cannot be used changes nothing.
.SH FILES
.TP
.I /etc/muster/muster.toml
Its configuration; see
.BR muster.toml (5).
.TP
.I /run/muster/muster.sock
Its API, for members of the group
.BR muster .
.TP
.I /run/muster/owned
Which of the machine's units are the cluster's.
.TP
.I /var/lib/muster
The embedded store, and the last known placements.
.SH "SEE ALSO"
.BR musterctl (1),
.BR muster.toml (5),
.BR muster.unit (5)
"#;

/// Writes `musterd.8` into the directory.
pub fn write(directory: &Path) -> std::io::Result<()> {
    let page = Man::new(Flags::command()).section("8").manual("Muster").source("Muster");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    text.write_all(REST.as_bytes())?;
    std::fs::write(directory.join("musterd.8"), text)
}
