//! The specifiers `[X-Fleet]` knows: `%n`, `%N`, `%p`, `%i`.
