//! Tokens → trees: one for the template and one for each `define` and `block` in it.

use super::error::TemplateError;
use super::lexer::{Kind as Token, Lexer, Token as Lexed};
use super::literal;
use super::node::{Branch, Kind, Node, Pipe, is_empty};
use super::{TEMPLATE_NESTING_MAX, call};

/// The trees of a text by name; the first is the template itself.
pub(super) type Trees = Vec<(String, Node)>;

/// Parses a text; `name` is what error texts call the template.
pub(super) fn parse(name: &str, text: &str) -> Result<Trees, TemplateError> {
    let mut parser = Parser {
        name,
        lexer: Lexer::new(text),
        pushed: Vec::new(),
        line: 1,
        action_line: None,
        variables: vec!["$".to_owned()],
        trees: Vec::new(),
        ranges: 0,
        depth: 0,
    };
    parser.template().map_err(TemplateError)?;
    Ok(parser.trees)
}

type Result<T, E = String> = std::result::Result<T, E>;

struct Parser<'a> {
    name: &'a str,
    lexer: Lexer<'a>,
    /// Tokens that were taken and put back; the last is the next.
    pushed: Vec<Lexed<'a>>,
    /// The line of the token that was read last.
    line: usize,
    action_line: Option<usize>,
    variables: Vec<String>,
    trees: Trees,
    ranges: usize,
    depth: usize,
}

/// What stands between two texts.
enum Item {
    Node(Node),
    Else,
    End,
}

impl Item {
    fn show(&self) -> &'static str {
        match self {
            Item::End => "{{end}}",
            _ => "{{else}}",
        }
    }
}

fn list(position: usize, nodes: Vec<Node>) -> Node {
    Node { position, kind: Kind::List(nodes) }
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Lexed<'a> {
        self.pushed.pop().unwrap_or_else(|| {
            let token = self.lexer.next();
            self.line = token.line;
            token
        })
    }

    fn peek(&mut self) -> Lexed<'a> {
        let token = self.next();
        self.pushed.push(token.clone());
        token
    }

    fn next_word(&mut self) -> Lexed<'a> {
        loop {
            let token = self.next();
            if token.kind != Token::Space {
                return token;
            }
        }
    }

    fn peek_word(&mut self) -> Lexed<'a> {
        let token = self.next_word();
        self.pushed.push(token.clone());
        token
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Result<T> {
        Err(format!("template: {}:{}: {message}", self.name, self.line))
    }

    fn unexpected<T>(&self, token: &Lexed<'_>, context: &str) -> Result<T> {
        if token.kind != Token::Error {
            return self.error(format_args!("unexpected {} in {context}", token.show()));
        }
        match self.action_line {
            Some(line) if line != token.line => {
                let action = if token.text.ends_with(" action") { "" } else { " in action" };
                self.error(format_args!("{}{action} started at {}:{line}", token.show(), self.name))
            }
            _ => self.error(token.show()),
        }
    }

    fn expect(&mut self, kind: Token, context: &str) -> Result<Lexed<'a>> {
        let token = self.next_word();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > TEMPLATE_NESTING_MAX {
            return self.error(format_args!("nested more than {TEMPLATE_NESTING_MAX} deep"));
        }
        Ok(())
    }

    /// Files a tree; an empty one gives way to another of its name.
    fn add(&mut self, name: String, tree: Node) -> Result<()> {
        match self.trees.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if is_empty(known) => *known = tree,
            Some(_) if !is_empty(&tree) => {
                let name = crate::units::quote(&name);
                return self.error(format_args!("template: multiple definition of template {name}"));
            }
            Some(_) => {}
            None => self.trees.push((name, tree)),
        }
        Ok(())
    }

    fn template(&mut self) -> Result<()> {
        let position = self.peek().position;
        let mut nodes = Vec::new();
        while self.peek().kind != Token::Eof {
            if self.peek().kind == Token::LeftDelim {
                let delim = self.next();
                let word = self.next_word();
                if word.kind == Token::Keyword && word.text == "define" {
                    self.definition()?;
                    continue;
                }
                self.pushed.push(word);
                self.pushed.push(delim);
            }
            match self.item()? {
                Item::Node(node) => nodes.push(node),
                item => return self.error(format_args!("unexpected {}", item.show())),
            }
        }
        self.add(self.name.to_owned(), list(position, nodes))?;
        // The template itself comes first.
        if let Some(at) = self.trees.iter().position(|(name, _)| name == self.name) {
            self.trees.swap(0, at);
        }
        Ok(())
    }

    fn definition(&mut self) -> Result<()> {
        let context = "define clause";
        let token = self.next_word();
        let name = self.template_name(&token, context)?;
        self.expect(Token::RightDelim, context)?;
        self.tree(name, context)
    }

    /// The tree of a `define` or `block`: it knows no variables but `$`, and is in no range.
    fn tree(&mut self, name: String, context: &str) -> Result<()> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        self.deeper()?;
        let (body, end) = self.items()?;
        if !matches!(end, Item::End) {
            return self.error(format_args!("unexpected {} in {context}", end.show()));
        }
        self.add(name, body)?;
        self.depth -= 1;
        self.variables = variables;
        self.ranges = ranges;
        Ok(())
    }

    fn template_name(&mut self, token: &Lexed<'a>, context: &str) -> Result<String> {
        match token.kind {
            Token::String | Token::RawString => match literal::unquote(&token.text) {
                Some(name) => Ok(String::from_utf8_lossy(&name).into_owned()),
                None => self.error("invalid syntax"),
            },
            _ => self.unexpected(token, context),
        }
    }

    /// Items up to an `{{end}}` or `{{else}}`, which is answered as well.
    fn items(&mut self) -> Result<(Node, Item)> {
        let position = self.peek_word().position;
        let mut nodes = Vec::new();
        while self.peek_word().kind != Token::Eof {
            match self.item()? {
                Item::Node(node) => nodes.push(node),
                end => return Ok((list(position, nodes), end)),
            }
        }
        self.error("unexpected EOF")
    }

    fn item(&mut self) -> Result<Item> {
        let token = self.next_word();
        match token.kind {
            Token::Text => Ok(Item::Node(Node { position: token.position, kind: Kind::Text(token.text.into_owned()) })),
            Token::LeftDelim => {
                self.action_line = Some(token.line);
                let item = self.action()?;
                self.action_line = None;
                Ok(item)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Result<Item> {
        let token = self.next_word();
        let keyword = if token.kind == Token::Keyword { token.text.as_ref() } else { "" };
        let kind = match keyword {
            "block" => return self.block(),
            "break" | "continue" => {
                let close = self.next_word();
                if close.kind != Token::RightDelim {
                    return self.unexpected(&close, &format!("{{{{{keyword}}}}}"));
                }
                if self.ranges == 0 {
                    return self.error(format_args!("{{{{{keyword}}}}} outside {{{{range}}}}"));
                }
                if keyword == "break" { Kind::Break } else { Kind::Continue }
            }
            "else" => {
                let word = self.peek_word();
                if !(word.kind == Token::Keyword && (word.text == "if" || word.text == "with")) {
                    self.expect(Token::RightDelim, "else")?;
                }
                return Ok(Item::Else);
            }
            "end" => {
                self.expect(Token::RightDelim, "end")?;
                return Ok(Item::End);
            }
            "if" => return self.branch("if", Kind::If),
            "range" => return self.branch("range", Kind::Range),
            "with" => return self.branch("with", Kind::With),
            "template" => {
                let context = "template clause";
                let name_token = self.next_word();
                let name = self.template_name(&name_token, context)?;
                let mut pipe = None;
                let close = self.next_word();
                if close.kind != Token::RightDelim {
                    self.pushed.push(close);
                    pipe = Some(Box::new(self.pipeline(context, Token::RightDelim)?));
                }
                let position = name_token.position;
                return Ok(Item::Node(Node { position, kind: Kind::Template(name, pipe) }));
            }
            _ => {
                let position = token.position;
                self.pushed.push(token);
                let pipe = self.pipeline("command", Token::RightDelim)?;
                return Ok(Item::Node(Node { position, kind: Kind::Action(Box::new(pipe)) }));
            }
        };
        Ok(Item::Node(Node { position: token.position, kind }))
    }

    fn block(&mut self) -> Result<Item> {
        let context = "block clause";
        let token = self.next_word();
        let name = self.template_name(&token, context)?;
        let pipe = self.pipeline(context, Token::RightDelim)?;
        self.tree(name.clone(), context)?;
        Ok(Item::Node(Node { position: token.position, kind: Kind::Template(name, Some(Box::new(pipe))) }))
    }

    fn branch(&mut self, context: &str, kind: fn(Branch) -> Kind) -> Result<Item> {
        let variables = self.variables.len();
        self.deeper()?;
        let mut arms = Vec::new();
        let mut otherwise = None;
        loop {
            let pipe = self.pipeline(context, Token::RightDelim)?;
            let is_range = context == "range";
            self.ranges += usize::from(is_range);
            let (body, end) = self.items()?;
            self.ranges -= usize::from(is_range);
            arms.push((pipe, body));
            if matches!(end, Item::End) {
                break;
            }
            let word = self.peek();
            if !is_range && word.kind == Token::Keyword && word.text == context {
                self.next();
                continue;
            }
            let (body, end) = self.items()?;
            if !matches!(end, Item::End) {
                return self.error(format_args!("expected end; found {}", end.show()));
            }
            otherwise = Some(Box::new(body));
            break;
        }
        self.depth -= 1;
        self.variables.truncate(variables);
        let position = arms.first().map_or(0, |(pipe, _)| pipe.position);
        Ok(Item::Node(Node { position, kind: kind(Branch { arms, otherwise }) }))
    }

    /// `$x, $y := a | b` up to the token that ends it.
    fn pipeline(&mut self, context: &str, end: Token) -> Result<Node> {
        let position = self.peek_word().position;
        let mut pipe = Pipe { variables: Vec::new(), assigns: false, commands: Vec::new() };
        while self.peek_word().kind == Token::Variable {
            let variable = self.next_word();
            let behind = self.next();
            let word = if behind.kind == Token::Space { self.peek_word() } else { behind.clone() };
            match word.kind {
                Token::Assign | Token::Declare => {
                    if behind.kind == Token::Space {
                        self.next_word();
                    }
                    pipe.assigns = word.kind == Token::Assign;
                    pipe.variables.push(variable.text.to_string());
                    self.variables.push(variable.text.into_owned());
                }
                Token::Char if word.text == "," => {
                    if behind.kind == Token::Space {
                        self.next_word();
                    }
                    pipe.variables.push(variable.text.to_string());
                    self.variables.push(variable.text.into_owned());
                    if context == "range" && pipe.variables.len() < 2 {
                        if matches!(self.peek_word().kind, Token::Variable | Token::RightDelim | Token::RightParen) {
                            continue;
                        }
                        return self.error("range can only initialize variables");
                    }
                    return self.error(format_args!("too many declarations in {context}"));
                }
                _ => {
                    self.pushed.push(behind);
                    self.pushed.push(variable);
                }
            }
            break;
        }
        loop {
            let token = self.next_word();
            if token.kind == end {
                break;
            }
            match token.kind {
                Token::Bool
                | Token::CharConstant
                | Token::Dot
                | Token::Field
                | Token::Identifier
                | Token::Number
                | Token::Nil
                | Token::RawString
                | Token::String
                | Token::Variable
                | Token::LeftParen => {
                    self.pushed.push(token);
                    pipe.commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if pipe.commands.is_empty() {
            return self.error(format_args!("missing value for {context}"));
        }
        for (at, command) in pipe.commands.iter().enumerate().skip(1) {
            let Kind::Command(words) = &command.kind else { continue };
            if let Some(Kind::Bool(_) | Kind::Dot | Kind::Nil | Kind::Number(_) | Kind::String(_)) =
                words.first().map(|word| &word.kind)
            {
                return self.error(format_args!("non executable command in pipeline stage {}", at + 1));
            }
        }
        Ok(Node { position, kind: Kind::Pipe(pipe) })
    }

    fn command(&mut self) -> Result<Node> {
        let position = self.peek_word().position;
        let mut words = Vec::new();
        loop {
            self.peek_word();
            words.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Token::Space => continue,
                Token::RightDelim | Token::RightParen => self.pushed.push(token),
                Token::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if words.is_empty() {
            return self.error("empty command");
        }
        Ok(Node { position, kind: Kind::Command(words) })
    }

    fn operand(&mut self) -> Result<Option<Node>> {
        let Some(mut node) = self.term()? else { return Ok(None) };
        let dot = self.peek();
        if dot.kind != Token::Field {
            return Ok(Some(node));
        }
        let mut fields = Vec::new();
        while self.peek().kind == Token::Field {
            fields.push(self.next().text.trim_start_matches('.').to_owned());
        }
        match &mut node.kind {
            Kind::Field(known) | Kind::Variable(_, known) => {
                known.append(&mut fields);
                node.position = dot.position;
                Ok(Some(node))
            }
            Kind::Bool(_) | Kind::String(_) | Kind::Number(_) | Kind::Nil | Kind::Dot => {
                let shown = crate::units::quote(&node.to_string());
                self.error(format_args!("unexpected . after term {shown}"))
            }
            _ => Ok(Some(Node { position: dot.position, kind: Kind::Chain(Box::new(node), fields) })),
        }
    }

    fn term(&mut self) -> Result<Option<Node>> {
        let token = self.next_word();
        let text = token.text.as_ref();
        let kind = match token.kind {
            Token::Identifier => match call::lookup(text) {
                Some(function) => Kind::Identifier(function),
                None => return self.error(format_args!("function {} not defined", crate::units::quote(text))),
            },
            Token::Dot => Kind::Dot,
            Token::Nil => Kind::Nil,
            Token::Variable if self.variables.iter().any(|known| known == text) => {
                Kind::Variable(text.to_owned(), Vec::new())
            }
            Token::Variable => return self.error(format_args!("undefined variable {}", crate::units::quote(text))),
            Token::Field => Kind::Field(vec![text.trim_start_matches('.').to_owned()]),
            Token::Bool => Kind::Bool(text == "true"),
            Token::CharConstant | Token::Number => match literal::number(text) {
                Ok(number) => Kind::Number(number),
                Err(message) => return self.error(message),
            },
            Token::LeftParen => {
                self.deeper()?;
                let pipe = self.pipeline("parenthesized pipeline", Token::RightParen)?;
                self.depth -= 1;
                return Ok(Some(pipe));
            }
            Token::String | Token::RawString => match literal::text(text) {
                Some(literal) => Kind::String(literal),
                None => return self.error("invalid syntax"),
            },
            _ => {
                self.pushed.push(token);
                return Ok(None);
            }
        };
        Ok(Some(Node { position: token.position, kind }))
    }
}
