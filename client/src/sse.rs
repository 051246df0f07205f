//! Server-sent events: pieces of a stream in, the data of each event out.
//!
//! Owns the framing (HTML standard, "Server-sent events"). It never looks into the data.

/// Longest event taken, in bytes. The largest that a daemon sends is a refusal with a line for each of some thousand
/// machines, a few hundred kilobytes; anything beyond is not a daemon's.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// Takes a stream apart, whatever pieces it comes in.
#[derive(Debug, Default)]
pub struct EventDecoder {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_cr: bool,
}

/// An event longer than any that a daemon sends.
#[derive(Debug, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
pub struct EventTooLong;

impl EventDecoder {
    /// Takes the next piece of the stream and returns the data of the events that it completes, in their order.
    ///
    /// # Errors
    ///
    /// [`EventTooLong`] for an event of more than 8 MiB; nothing can be read of the stream from there on.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<String>, EventTooLong> {
        let mut events = Vec::new();
        for &byte in piece {
            // A line ends with LF, CR, or both.
            let second_of_two = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            if second_of_two {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                events.extend(self.end_of_line());
            } else if self.line.len() + self.data.len() >= MAX_EVENT_BYTES {
                return Err(EventTooLong);
            } else {
                self.line.push(byte);
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return std::mem::take(&mut self.has_data).then_some(data);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        if field == "data" {
            if self.has_data {
                self.data.push('\n');
            }
            self.has_data = true;
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": comment\n\ndata: {\"a\":1}\n\nevent: x\ndata:one\ndata: two\r\n\r\nid: 7\n\ndata\n\ndata: cut";

    #[test]
    fn events_come_out_whole_however_the_stream_is_cut() {
        let expected = ["{\"a\":1}", "one\ntwo", ""];
        for size in 1..STREAM.len() {
            let mut decoder = EventDecoder::default();
            let events: Vec<String> = STREAM
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| decoder.push(piece).unwrap())
                .collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = EventDecoder::default();
        let piece = vec![b'x'; 1024 * 1024];
        let refused = (0..9).any(|_| decoder.push(&piece).is_err());
        assert!(refused);
    }
}
