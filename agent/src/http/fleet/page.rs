//! Pages and their tokens.
//!
//! Owns fleet's token: limit and page as two little-endian 16-bit numbers in URL-safe base64. A token with another
//! limit than ours comes from another daemon's configuration, and its pages would not fit ours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use crate::http::error::ApiError;
use crate::http::extract::Params;

/// A page of a list: which, and of how many entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    limit: u16,
    number: u16,
}

impl Page {
    /// The page a request asks for; the first where it names none.
    pub(super) fn asked_for(params: &Params, limit: u16) -> Result<Self, ApiError> {
        let mut tokens = params.values_of("nextPageToken");
        let page = match (tokens.next(), tokens.next()) {
            (None, _) => return Ok(Self { limit, number: 1 }),
            (Some(token), None) => Self::decode(token),
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request("too many values for page token"));
            }
        };
        let page = page.ok_or_else(|| {
            ApiError::bad_request("nextPageToken is not a page token this API has given out")
        })?;
        if page.limit != limit {
            return Err(ApiError::bad_request(format!("token limit must be {limit}")));
        }
        if page.number == 0 {
            return Err(ApiError::bad_request("token page must be greater than zero"));
        }
        Ok(page)
    }

    fn decode(token: &str) -> Option<Self> {
        let bytes: [u8; 4] = URL_SAFE.decode(token).ok()?.try_into().ok()?;
        let [a, b, c, d] = bytes;
        Some(Self { limit: u16::from_le_bytes([a, b]), number: u16::from_le_bytes([c, d]) })
    }

    fn encode(self) -> String {
        let [a, b] = self.limit.to_le_bytes();
        let [c, d] = self.number.to_le_bytes();
        URL_SAFE.encode([a, b, c, d])
    }

    /// This page of a list, and the token for the next if there is one.
    pub(super) fn cut_page<T>(self, all: impl Iterator<Item = T>) -> (Vec<T>, Option<String>) {
        let limit = usize::from(self.limit);
        let mut rest = all.skip(limit * usize::from(self.number - 1)).peekable();
        let page: Vec<T> = rest.by_ref().take(limit).collect();
        let next = rest
            .peek()
            .and_then(|_| self.number.checked_add(1))
            .map(|number| Self { limit: self.limit, number }.encode());
        (page, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_fleet_would_have_given() {
        // encoding/binary's little-endian form of {Limit: 100, Page: 2}.
        assert_eq!(Page { limit: 100, number: 2 }.encode(), "ZAACAA==");
        assert_eq!(Page::decode("ZAACAA=="), Some(Page { limit: 100, number: 2 }));
    }

    #[test]
    fn the_last_page_has_no_next_even_if_it_is_full() {
        let page = Page { limit: 3, number: 2 };
        assert_eq!(page.cut_page(1..=6), (vec![4, 5, 6], None));
        assert_eq!(page.cut_page(1..=7).1, Some(Page { limit: 3, number: 3 }.encode()));
        assert_eq!(page.cut_page(1..=2), (vec![], None));
    }
}
