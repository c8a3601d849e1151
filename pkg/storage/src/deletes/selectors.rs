//! What selectors mean: the storage knows no query language and is told.

use std::fmt;
use std::sync::Arc;
use timberlog_filter::{Compiled, Filter};
use timberlog_types::{Error, Result};

/// The longest selector, in bytes.
pub const SELECTOR_BYTES_MAX: usize = 16 << 10;

type Lower = dyn Fn(&str) -> Result<Filter> + Send + Sync;

/// Turns the text of a selector into a filter. By default every selector is refused.
///
/// The function must give the same filter for the same text for ever: deletes are kept as text.
#[derive(Clone)]
pub struct Selectors(Arc<Lower>);

impl Selectors {
    /// Selectors as a function reads them; it refuses, with the reason, what no filter can say.
    pub fn new(lower: impl Fn(&str) -> Result<Filter> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lower))
    }

    /// Compiles a selector.
    ///
    /// # Errors
    /// `Invalid` if it is too long, is refused, or is larger than filters may be.
    pub fn compile(&self, selector: &str) -> Result<Arc<Compiled>> {
        if selector.len() > SELECTOR_BYTES_MAX {
            let len = selector.len();
            return Err(Error::invalid(format!("the selector has {len} bytes, limit {SELECTOR_BYTES_MAX}")));
        }
        let filter = (self.0)(selector)?;
        Ok(Arc::new(Compiled::new(&filter)?))
    }
}

impl Default for Selectors {
    fn default() -> Self {
        Self::new(|selector| Err(Error::invalid(format!("selector `{selector}`: this storage knows no selectors"))))
    }
}

impl fmt::Debug for Selectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Selectors")
    }
}
