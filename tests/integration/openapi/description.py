"""openapi.yaml as data, and whether an answer is what it says. Reads only as much of YAML as that file is written in, and
stops at anything else: Debian's python3 comes without a YAML reader. Knows no node."""
import json
import re

KEY = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s"{\[&*][^:]*):(?: +(.*))?$')
TIME = re.compile(r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')


class Wrong(Exception):
    """What the node does is not what the description says, or the description cannot be read."""


def scalar(text):
    words = {'true': True, 'false': False, 'null': None}
    if text in words:
        return words[text]
    return int(text) if re.fullmatch(r'-?\d+', text) else text


class Reader:
    def __init__(self, text):
        self.lines, self.at, self.anchors = text.split('\n'), 0, {}

    def fail(self, why):
        raise Wrong(f'line {self.at + 1}: {why}: {self.lines[min(self.at, len(self.lines) - 1)]}')

    def peek(self):
        """Indentation and text of the next line with something on it; -1 at the end."""
        while self.at < len(self.lines):
            text = self.lines[self.at].lstrip(' ')
            if text and not text.startswith('#'):
                return len(self.lines[self.at]) - len(text), text.rstrip()
            self.at += 1
        return -1, ''

    def whole(self):
        made = self.mapping(0)
        if self.peek()[0] >= 0:
            self.fail('not understood')
        return made

    def block(self):
        depth, text = self.peek()
        return self.sequence(depth) if text.startswith('- ') else self.mapping(depth)

    def mapping(self, depth):
        made = {}
        while True:
            at, text = self.peek()
            if at < depth:
                return made
            found = KEY.match(text)
            if at > depth or not found or text.startswith('- '):
                self.fail('not understood')
            self.at += 1
            key = json.loads(found[1]) if found[1].startswith('"') else found[1]
            if key in made:
                self.fail(f'{key} is there twice')
            made[key] = self.value(found[2] or '', depth)

    def sequence(self, depth):
        made = []
        while True:
            at, text = self.peek()
            if at < depth or not text.startswith('- '):
                return made
            if at > depth:
                self.fail('not understood')
            rest = text[2:]
            if rest[0] not in '{["*&' and KEY.match(rest):
                # "- key: value" begins a mapping that stands two further in.
                self.lines[self.at] = ' ' * (depth + 2) + rest
                made.append(self.mapping(depth + 2))
            else:
                self.at += 1
                made.append(self.value(rest, depth))

    def value(self, rest, depth):
        """What follows "key:" or "- ", whose line is used up."""
        if rest.startswith('&'):
            name, _, rest = rest[1:].partition(' ')
            self.anchors[name] = made = self.value(rest.strip(), depth)
            return made
        if rest.startswith('*'):
            return self.anchors[rest[1:]]
        if rest == '|':
            return self.literal(depth)
        if rest == '':
            return self.block() if self.peek()[0] > depth else None
        if rest[0] in '{[':
            made, end = self.flow(rest, 0)
            if rest[end:].strip():
                self.fail('not understood')
            return made
        return json.loads(rest) if rest[0] == '"' else scalar(rest)

    def literal(self, depth):
        lines = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and len(line) - len(line.lstrip(' ')) <= depth:
                break
            lines.append(line.strip())
            self.at += 1
        return '\n'.join(lines).strip()

    def flow(self, text, at):
        """{a: b, c: [d, "e"]} from `at` on, all on one line; and where it ends."""
        at = self.skip(text, at)
        if at >= len(text):
            self.fail('not closed')
        if text[at] == '"':
            end = re.compile(r'"(?:[^"\\]|\\.)*"').match(text, at).end()
            return json.loads(text[at:end]), end
        if text[at] == '*':
            end = re.compile(r'\*\w+').match(text, at).end()
            return self.anchors[text[at + 1:end]], end
        if text[at] not in '{[':
            end = re.compile(r'[^,}\]]*').match(text, at).end()
            return scalar(text[at:end].strip()), end
        is_mapping, at = text[at] == '{', self.skip(text, at + 1)
        made = {} if is_mapping else []
        while at < len(text) and text[at] not in '}]':
            if is_mapping:
                found = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s"{}\[\],:]+): *').match(text, at)
                if not found:
                    self.fail('no key')
                key = json.loads(found[1]) if found[1].startswith('"') else found[1]
                made[key], at = self.flow(text, found.end())
            else:
                one, at = self.flow(text, at)
                made.append(one)
            at = self.skip(text, at)
            if at < len(text) and text[at] == ',':
                at = self.skip(text, at + 1)
        if at >= len(text) or (text[at] == '}') != is_mapping:
            self.fail('not closed')
        return made, at + 1

    @staticmethod
    def skip(text, at):
        while at < len(text) and text[at] == ' ':
            at += 1
        return at


def is_of(value, kind):
    if kind == 'integer':
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == 'number':
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'null': type(None)}[kind])


class Description:
    def __init__(self, text):
        self.root = Reader(text).whole()
        self.operations = {}
        for path, methods in self.root['paths'].items():
            for method, operation in methods.items():
                if method == 'parameters':
                    continue
                name = operation['operationId']
                if name in self.operations:
                    raise Wrong(f'two operations are called {name}')
                self.operations[name] = (method.upper(), path, operation)

    def resolve(self, thing):
        while isinstance(thing, dict) and '$ref' in thing:
            at = self.root
            for part in thing['$ref'].removeprefix('#/').split('/'):
                at = at[part]
            thing = at
        return thing

    def statuses(self, name):
        return sorted(int(status) for status in self.operations[name][2]['responses'])

    def promised(self):
        return {(name, status) for name in self.operations for status in self.statuses(name)}

    def response(self, name, status):
        found = self.operations[name][2]['responses'].get(str(status))
        return self.resolve(found) if found is not None else None

    def members(self, schema):
        """The members that an object of this schema may have; None: any."""
        if '$ref' in schema:
            return self.members(self.resolve(schema))
        parts = schema.get('allOf', []) + schema.get('oneOf', [])
        names = set(schema.get('properties', {}))
        for part in parts:
            names |= self.members(part) or set()
        return names or None

    def check(self, schema, value, where):
        if '$ref' in schema:
            self.check(self.resolve(schema), value, where)
        for part in schema.get('allOf', []):
            self.check(part, value, where)
        if 'oneOf' in schema:
            self.check_one_of(schema['oneOf'], value, where)
        kinds = schema.get('type', [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if kinds and not any(is_of(value, kind) for kind in kinds):
            raise Wrong(f'{where} is {json.dumps(value)}, not {" or ".join(kinds)}')
        if 'const' in schema and value != schema['const']:
            raise Wrong(f'{where} is {json.dumps(value)}, not {json.dumps(schema["const"])}')
        if 'enum' in schema and value not in schema['enum']:
            raise Wrong(f'{where} is {json.dumps(value)}, none of {schema["enum"]}')
        if isinstance(value, str):
            self.check_text(schema, value, where)
        if is_of(value, 'integer'):
            if not schema.get('minimum', value) <= value <= schema.get('maximum', value):
                raise Wrong(f'{where} is {value}: out of bounds')
        if isinstance(value, list):
            for i, one in enumerate(value):
                self.check(schema.get('items', {}), one, f'{where}[{i}]')
        if isinstance(value, dict):
            self.check_object(schema, value, where)

    def check_one_of(self, schemas, value, where):
        fits, why = 0, []
        for schema in schemas:
            try:
                self.check(schema, value, where)
                fits += 1
            except Wrong as wrong:
                why.append(str(wrong))
        if fits != 1:
            raise Wrong(f'{where} fits {fits} of what it may be: {"; ".join(why)}')

    @staticmethod
    def check_text(schema, value, where):
        if 'pattern' in schema and not re.search(schema['pattern'], value):
            raise Wrong(f'{where} is {json.dumps(value)}: not {schema["pattern"]}')
        if not schema.get('minLength', 0) <= len(value) <= schema.get('maxLength', len(value)):
            raise Wrong(f'{where} is {json.dumps(value)}: too long or too short')
        if schema.get('format') == 'date-time' and not TIME.match(value):
            raise Wrong(f'{where} is {json.dumps(value)}: not such a time')

    def check_object(self, schema, value, where):
        for name in schema.get('required', []):
            if name not in value:
                raise Wrong(f'{where} lacks {name}: {json.dumps(value)[:300]}')
        for name, inner in schema.get('properties', {}).items():
            if name in value:
                self.check(inner, value[name], f'{where}.{name}')

    def inside(self, schema, what):
        """The first `what` that this schema, or a part of it, has: `items`, or a property by its name."""
        if '$ref' in schema:
            return self.inside(self.resolve(schema), what)
        if what == 'items' and 'items' in schema:
            return schema['items']
        if what in schema.get('properties', {}):
            return schema['properties'][what]
        for part in schema.get('allOf', []) + schema.get('oneOf', []):
            found = self.inside(part, what)
            if found is not None:
                return found
        return None

    def check_known(self, schema, value, where):
        """Nothing is there that the description does not tell of."""
        if isinstance(value, list):
            for i, one in enumerate(value):
                self.check_known(self.inside(schema, 'items') or {}, one, f'{where}[{i}]')
        if not isinstance(value, dict):
            return
        known = self.members(schema)
        for name, inner in value.items():
            if known is not None and name not in known:
                raise Wrong(f'{where}.{name} is not documented')
            self.check_known(self.inside(schema, name) or {}, inner, f'{where}.{name}')

    def check_answer(self, name, status, content_type, headers, body):
        """One answer of the node: is it one of those that are documented?"""
        response = self.response(name, status)
        where = f'{name} {status}'
        if response is None:
            raise Wrong(f'{where} is not documented: {body[:300]!r}')
        media = content_type.split(';')[0].strip()
        content = response.get('content', {})
        if media not in content:
            raise Wrong(f'{where} is of {media!r}, documented: {", ".join(content)}')
        if status in (202, 503):
            for header in response.get('headers', {}):
                if header not in headers:
                    raise Wrong(f'{where} has no {header}')
        if not media.endswith('json'):
            return None
        schema, value = content[media]['schema'], json.loads(body)
        self.check(schema, value, where)
        self.check_known(schema, value, where)
        if media == 'application/problem+json':
            self.check_problem(value, status, response, where)
        return value

    @staticmethod
    def check_problem(value, status, response, where):
        slug = value['type'].removeprefix('/problems/')
        if value['status'] != status or f'`{slug}`' not in response['description']:
            raise Wrong(f'{where} is a {value["type"]} of {value["status"]}: not documented')
