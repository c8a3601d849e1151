//! Any text into the parsers of the query languages: no panic, no endless nesting, and what was
//! taken prints as a text that is taken for the same.

use timberlog_logql::ast::MetricExpr;
use timberlog_logql::{Expr, parse, parse_selector, parse_short, pretty, print_short};

/// See the module.
pub fn logql(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(expr) = parse(text) {
        // `1/0` is a number that no literal says.
        if !matches!(expr, Expr::Metric(MetricExpr::Literal(_))) {
            assert_eq!(parse(&expr.to_string()).as_ref(), Ok(&expr));
            assert_eq!(parse(&pretty(&expr)).as_ref(), Ok(&expr));
        }
    }
    let _ = parse_selector(text);
    if let Ok(filter) = parse_short(text) {
        let printed = print_short(&filter).expect("the short form says what it read");
        assert_eq!(parse_short(&printed), Ok(filter));
    }
}
