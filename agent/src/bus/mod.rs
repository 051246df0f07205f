//! The message bus, and whom to believe on it.
//!
//! Any user of the machine can connect to the system bus and send whatever it likes straight to our unique name: match
//! rules choose what is broadcast to us, they keep nothing away. What cannot be forged is a message's sender, which the
//! bus itself writes. So nothing is believed here but what comes from the connection that owns the name that was asked
//! for, now, and names its path and interface; replies too, since a reply is told by nothing but a number that is easy
//! to guess.
//!
//! Owns connecting, [`Calls`] (methods, and the replies of those that were asked) and [`NameWatch`] (who owns a name, and that
//! owner's signals). It knows nothing of what is said.

mod calls;
mod line;
#[cfg(test)]
pub(crate) mod test_bus;

use zbus::Connection;
use zbus::message::Header;

pub(crate) use self::calls::{CallError, Calls, Method};
pub(crate) use self::line::{BusMessage, NameWatch};

/// The bus's own name, which is also its unique name: the sender of whatever it says itself (D-Bus Specification,
/// "Message Bus Messages").
pub(crate) const BUS: &str = "org.freedesktop.DBus";
/// The bus's one object.
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// The bus's words for a name without an owner.
const NO_OWNER: &str = "org.freedesktop.DBus.Error.NameHasNoOwner";

/// A connection to the system bus, or to another one (in tests).
pub(crate) async fn connect(address: Option<&str>) -> zbus::Result<Connection> {
    let builder = match address {
        Some(address) => zbus::connection::Builder::address(address),
        None => zbus::connection::Builder::system(),
    };
    builder.build().await
}

/// True if a message comes from the connection of this unique name.
fn is_from(header: &Header<'_>, unique: &str) -> bool {
    header.sender().is_some_and(|sender| sender.as_str() == unique)
}

/// True for a signal of this interface and this name.
pub(crate) fn is_signal(header: &Header<'_>, interface: &str, member: &str) -> bool {
    header.interface().is_some_and(|name| name.as_str() == interface)
        && header.member().is_some_and(|name| name.as_str() == member)
}

/// The object a message speaks of.
pub(crate) fn path_of<'a>(header: &'a Header<'_>) -> &'a str {
    header.path().map_or("", |path| path.as_str())
}
