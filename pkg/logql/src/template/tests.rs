//! Templates against what they must give.
