//! Ends a search within a block: what a costly expression is asked of can be long.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Tells matchers from outside that nobody wants to know any more. Clones are one.
///
/// From then on expressions match nothing, at once: whoever interrupts throws the answer away.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Tells them.
    pub fn interrupt(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether they were told.
    pub fn is_interrupted(&self) -> bool {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchColumns, Compiled, Filter, Op, Pattern, evaluate};
    use timberlog_types::{BatchBuilder, RowSet};

    #[test]
    fn an_expression_that_is_interrupted_matches_nothing() {
        let interrupt = Interrupt::default();
        let filter = Filter::test("message", Op::Regex(Pattern::search("a.*z")));
        let compiled = Compiled::interruptible(&filter, &interrupt).unwrap();
        let mut builder = BatchBuilder::new();
        let (stream, level) = (builder.stream("web", &[]).unwrap(), builder.level(None).unwrap());
        builder.finish_row(1, stream, level, b"a to z").unwrap();
        let batch = builder.finish().unwrap();
        let found = || evaluate(&compiled, &BatchColumns::new(&batch), RowSet::all(1)).unwrap().count();
        assert_eq!(found(), 1);
        interrupt.interrupt();
        assert_eq!(found(), 0);
    }
}
