//! Following a unit's journal.
//!
//! `GET /v1/units/NAME/journal/follow` answers with server-sent events, each with a [`JournalEvent`] as its data. Its
//! parameters:
//!
//! | parameter | meaning |
//! | --- | --- |
//! | `machine=ID` | that machine's journal and no other's |
//! | `prefer=ID` | that machine's if it has the unit, else the one's that has |
//! | `wait=true` | a unit on no machine is waited for, and not refused with 409 |
//! | `output=MODE` | journalctl's output mode |
//! | `cursor=C` | what stands behind this place, as an earlier event named it |
//! | `ago=MS` | what was logged in the last so many milliseconds; each machine has a clock of its own |
//! | `lines=N` | the last so many lines, or `all`; where neither of the other two is given |
//!
//! The stream says where it reads from, and why it ends. One that ends without a word was cut off, and can be taken up
//! at the last cursor.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::state::DesiredState;

/// One event of a journal that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalEvent {
    /// Whose journal it is; before any line.
    From {
        /// The machine.
        machine: Machine,
    },
    /// Lines that were logged.
    Lines {
        /// Whole lines, as journalctl prints them.
        text: String,
        /// The same where it is no text, as a field of an entry in mode `export` may be; `text` is empty then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
        /// The place behind them; absent where more of the same piece follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// The unit is on no machine, and is waited for.
    Nowhere {
        /// The state that is wanted of it.
        desired: DesiredState,
    },
    /// The unit that was waited for is on a machine again; the last event.
    Placed,
    /// The unit has left this machine, which has nothing more to say of it; the last event.
    Left,
    /// The unit exists no longer, and has left this machine; the last event.
    Destroyed,
}
