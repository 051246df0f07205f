//! Reading a local file that is to be sent as a unit's, or as a part of one.

use std::io;
use std::path::Path;

use muster_common::unit::MAX_FILE_BYTES;

use crate::argument_error::ArgumentError;

/// The text of a file; `None` when there is no such file.
pub(crate) fn read_unit_file(path: &Path) -> Result<Option<String>, ArgumentError> {
    let failed = |source| ArgumentError::Read { path: path.to_owned(), source };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(failed(e)),
    };
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // Asked before reading, so that a huge file is not read to be refused.
    if metadata.len() > MAX_FILE_BYTES as u64 {
        return Err(ArgumentError::TooLarge { path: path.to_owned(), size: metadata.len() });
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map(Some).map_err(|e| ArgumentError::NotText {
        path: path.to_owned(),
        offset: e.utf8_error().valid_up_to(),
    })
}
