#!/bin/bash
# META.json against PGXN's Meta Spec 1.0 (pgxn.org/meta/spec.txt), and against what the tree says of itself.
set -u
python3 - <<'PY'
import json, os, re, sys

def read(name):
    with open(name, encoding='utf-8') as f:
        return f.read()

bad = []
meta = json.loads(read('META.json'))
semver = re.compile(r'(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$')
term = re.compile(r'[^/\\\s\x00-\x1f]{2,}$')

def check(fine, what):
    if not fine:
        bad.append(what)

def keys(of, where, required, optional=()):
    """Required keys are there and full; others are known, or custom (x_)."""
    for key in required:
        check(of.get(key), f'{where} lacks {key}')
    for key in of:
        check(key in required or key in optional or re.match(r'[xX]_.', key), f'{where} has an unknown key {key}')

keys(meta, 'META.json', ('name', 'version', 'abstract', 'maintainer', 'license', 'provides', 'meta-spec'),
     ('description', 'generated_by', 'tags', 'no_index', 'prereqs', 'release_status', 'resources'))
for key in ('name', 'abstract', 'description', 'generated_by'):
    check(isinstance(meta.get(key, ''), str), f'{key} is no text')
check(term.match(meta['name']), 'name is no term')
check(semver.match(meta['version']), f"version {meta['version']} is no semantic version")
check(meta['license'] in ('postgresql', 'mit', 'apache_2_0', 'bsd'), f"license {meta['license']} is not one of PGXN's names")
check(re.match(r'PostgreSQL License', read('LICENSE')), 'LICENSE is another')
keys(meta['meta-spec'], 'meta-spec', ('version',), ('url',))
check(re.match(r'1\.0\.\d+$', meta['meta-spec']['version']), 'meta-spec.version is not 1.0.x, of which alone there is a spec')
check(meta['meta-spec'].get('url', 'https://pgxn.org/meta/spec.txt').endswith('://pgxn.org/meta/spec.txt'), 'meta-spec.url')
for tag in meta.get('tags', []):
    check(re.match(r'[^/\\\x00-\x1f]{1,256}$', tag), f'tag {tag!r}')
for phase, relations in meta.get('prereqs', {}).items():
    check(phase in ('configure', 'build', 'test', 'runtime', 'develop'), f'prereqs.{phase}')
    for relation, needs in relations.items():
        check(relation in ('requires', 'recommends', 'suggests', 'conflicts'), f'prereqs.{phase}.{relation}')
        for name, version in needs.items():
            check(term.match(name) and (version == 0 or semver.match(re.sub(r'^[<>=! ]+', '', str(version)))), f'prereqs of {name}')

# the tree
control = dict(re.findall(r"^(\w+) *= *'?(.*?)'?$", read('sales_assistant.control'), re.M))
version = '.'.join((control['default_version'].split('.') + ['0', '0'])[:3])
check(meta['version'] == version, f"version is {meta['version']}, that of the control file {version}")
check(list(meta['provides']) == ['sales_assistant'], 'provides is not sales_assistant alone')
for name, extension in meta['provides'].items():
    keys(extension, f'provides.{name}', ('file', 'version'), ('abstract', 'docfile'))
    check(extension['version'] == version, f"provides.{name} has version {extension['version']}")
    for key in ('file', 'docfile'):
        check(os.path.isfile(extension.get(key, 'README.md')), f'provides.{name}.{key} is not there')
server = read('debian/pgversions').strip().rstrip('+')
check(meta['prereqs']['runtime']['requires'].get('PostgreSQL') == f'{server}.0.0', f'PostgreSQL {server}, as in debian/pgversions, is not what is required')
packaged = re.match(r'sales-assistant \((.*)-\d+\)', read('debian/changelog')).group(1)
check(packaged == control['default_version'], f'debian/changelog is at {packaged}')

for complaint in bad:
    print('lint: META.json:', complaint, file=sys.stderr)
sys.exit(bool(bad))
PY
