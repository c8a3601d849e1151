//! The table of functions: what each takes, and how its arguments are checked against it.

use super::evaluate::Scope;
use super::functions::{builtin, dates, numbers, texts};
use super::value::Value;

/// A type that a function asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Int,
    Float,
    Time,
    Duration,
    /// Go's `interface {}`.
    Any,
    /// Go's `reflect.Value`: what the functions of text/template itself ask for.
    Reflect,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Type::Text => "string",
            Type::Int => "int",
            Type::Float => "float64",
            Type::Time => "time.Time",
            Type::Duration => "time.Duration",
            Type::Any => "interface {}",
            Type::Reflect => "reflect.Value",
        }
    }

    pub fn can_be_nil(self) -> bool {
        matches!(self, Type::Any | Type::Reflect)
    }

    pub fn takes(self, value: &Value<'_>) -> bool {
        match self {
            Type::Text => matches!(value, Value::Text(_)),
            Type::Int => matches!(value, Value::Int(_)),
            Type::Float => matches!(value, Value::Float(_)),
            Type::Time => matches!(value, Value::Time(_)),
            Type::Duration => matches!(value, Value::Duration(_)),
            Type::Any | Type::Reflect => true,
        }
    }
}

/// What a function does: it takes its arguments out of the slice. An error is its text.
pub(super) type Call = for<'a> fn(&mut Scope<'a>, &mut [Value<'a>]) -> Result<Value<'a>, String>;

/// A function that templates can call.
pub(super) struct Function {
    pub name: &'static str,
    /// Types of the arguments; the last is that of all further ones if it is variadic.
    pub parameters: &'static [Type],
    pub variadic: bool,
    pub call: Call,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The function of a name.
pub(super) fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

const fn function(name: &'static str, parameters: &'static [Type], call: Call) -> Function {
    Function { name, parameters, variadic: false, call }
}

const fn variadic(name: &'static str, parameters: &'static [Type], call: Call) -> Function {
    Function { name, parameters, variadic: true, call }
}

use Type::{Any, Float, Int, Reflect, Text, Time};

static FUNCTIONS: &[Function] = &[
    // text/template's own.
    variadic("and", &[Reflect, Reflect], builtin::unreachable),
    variadic("call", &[Reflect, Reflect], builtin::call),
    variadic("html", &[Any], builtin::html),
    variadic("index", &[Reflect, Reflect], builtin::index),
    variadic("slice", &[Reflect, Reflect], builtin::slice),
    variadic("js", &[Any], builtin::js),
    function("len", &[Reflect], builtin::len),
    function("not", &[Reflect], builtin::not),
    variadic("or", &[Reflect, Reflect], builtin::unreachable),
    variadic("print", &[Any], builtin::print),
    variadic("printf", &[Text, Any], builtin::printf),
    variadic("println", &[Any], builtin::println),
    variadic("urlquery", &[Any], builtin::urlquery),
    variadic("eq", &[Reflect, Reflect], builtin::eq),
    function("ge", &[Reflect, Reflect], builtin::ge),
    function("gt", &[Reflect, Reflect], builtin::gt),
    function("le", &[Reflect, Reflect], builtin::le),
    function("lt", &[Reflect, Reflect], builtin::lt),
    function("ne", &[Reflect, Reflect], builtin::ne),
    // Loki's.
    function("__line__", &[], texts::line),
    function("__timestamp__", &[], dates::timestamp),
    function("ToLower", &[Text], texts::lower),
    function("ToUpper", &[Text], texts::upper),
    function("Replace", &[Text, Text, Text, Int], texts::replace_some),
    function("Trim", &[Text, Text], texts::trim_set),
    function("TrimLeft", &[Text, Text], texts::trim_left_set),
    function("TrimRight", &[Text, Text], texts::trim_right_set),
    function("TrimPrefix", &[Text, Text], texts::trim_prefix_of),
    function("TrimSuffix", &[Text, Text], texts::trim_suffix_of),
    function("TrimSpace", &[Text], texts::trim),
    function("regexReplaceAll", &[Text, Text, Text], super::regex::replace_all),
    function("regexReplaceAllLiteral", &[Text, Text, Text], super::regex::replace_all_literal),
    function("count", &[Text, Text], super::regex::count),
    function("urldecode", &[Text], texts::urldecode),
    function("urlencode", &[Text], texts::urlencode),
    function("bytes", &[Text], numbers::bytes),
    function("duration", &[Text], numbers::duration),
    function("duration_seconds", &[Text], numbers::duration),
    function("unixEpochMillis", &[Time], dates::epoch_millis),
    function("unixEpochNanos", &[Time], dates::epoch_nanos),
    function("toDateInZone", &[Text, Text, Text], dates::to_date_in_zone),
    function("unixToTime", &[Text], dates::unix_to_time),
    function("alignLeft", &[Int, Text], texts::align_left),
    function("alignRight", &[Int, Text], texts::align_right),
    function("b64dec", &[Text], texts::b64dec),
    // Those Loki takes from sprig.
    function("b64enc", &[Text], texts::b64enc),
    function("lower", &[Text], texts::lower),
    function("upper", &[Text], texts::upper),
    function("title", &[Text], texts::title),
    function("trunc", &[Int, Text], texts::trunc),
    function("substr", &[Int, Int, Text], texts::substr),
    function("contains", &[Text, Text], texts::contains),
    function("hasPrefix", &[Text, Text], texts::has_prefix),
    function("hasSuffix", &[Text, Text], texts::has_suffix),
    function("indent", &[Int, Text], texts::indent),
    function("nindent", &[Int, Text], texts::nindent),
    function("replace", &[Text, Text, Text], texts::replace),
    function("repeat", &[Int, Text], texts::repeat),
    function("trim", &[Text], texts::trim),
    function("trimAll", &[Text, Text], texts::trim_all),
    function("trimSuffix", &[Text, Text], texts::trim_suffix),
    function("trimPrefix", &[Text, Text], texts::trim_prefix),
    function("int", &[Any], numbers::int),
    function("float64", &[Any], numbers::float64),
    variadic("add", &[Any], numbers::add),
    function("sub", &[Any, Any], numbers::sub),
    variadic("mul", &[Any, Any], numbers::mul),
    function("div", &[Any, Any], numbers::div),
    function("mod", &[Any, Any], numbers::modulo),
    variadic("addf", &[Any], numbers::addf),
    variadic("subf", &[Any, Any], numbers::subf),
    variadic("mulf", &[Any, Any], numbers::mulf),
    variadic("divf", &[Any, Any], numbers::divf),
    variadic("max", &[Any, Any], numbers::max),
    variadic("min", &[Any, Any], numbers::min),
    variadic("maxf", &[Any, Any], numbers::maxf),
    variadic("minf", &[Any, Any], numbers::minf),
    function("ceil", &[Any], numbers::ceil),
    function("floor", &[Any], numbers::floor),
    variadic("round", &[Any, Int, Float], numbers::round),
    function("fromJson", &[Text], texts::from_json),
    function("date", &[Text, Any], dates::date),
    function("toDate", &[Text, Text], dates::to_date),
    function("now", &[], dates::now),
    function("unixEpoch", &[Time], dates::epoch),
    variadic("default", &[Any, Any], numbers::default),
];
