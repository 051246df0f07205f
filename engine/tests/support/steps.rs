//! Steps of a unit, in the words of scripts.

use muster_common::unit::FileHash;
use muster_engine::machine::converge::Step;

/// A step in words; `name_of` has the name of a file, which may be empty.
pub(crate) fn describe_step(step: &Step, name_of: impl Fn(&FileHash) -> String) -> String {
    let with_file = |verb: &str, file: &FileHash| format!("{verb} {}", name_of(file));
    let text = match step {
        Step::Refuse { problem, generation, desired } => {
            format!("refuse {desired} {generation}: {problem}")
        }
        Step::Write { file } => with_file("write", file),
        Step::Adopt { file } => with_file("adopt", file),
        Step::Enable => "enable".to_owned(),
        Step::Disable => "disable".to_owned(),
        Step::Load => "load".to_owned(),
        Step::Start { .. } => "start".to_owned(),
        Step::Restart { .. } => "restart".to_owned(),
        Step::Stop => "stop".to_owned(),
        Step::AwaitEmpty => "await empty".to_owned(),
        Step::Remove => "remove".to_owned(),
        Step::Settle { generation, desired } => format!("settle {desired} {generation}"),
    };
    text.trim_end().to_owned()
}
