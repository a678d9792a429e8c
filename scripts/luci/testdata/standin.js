'use strict';

/* A stand-in for LuCI's client API, written for netpilot's tests: as much of
   it as luci-app-netpilot uses, with the same names and the same ways. It is
   not LuCI. Above all it has LuCI's trap: a bare string as the content of an
   element is HTML, one in an array is text. */

const asked = new URLSearchParams(location.search);

window._ = text => text;

String.prototype.format = function(...args) {
	return this.replace(/%(%|s|d)/g, (all, kind) => kind == '%' ? '%' : String(args.shift()));
};

const dom = {
	append(node, children) {
		if (Array.isArray(children)) {
			for (const child of children) {
				if (child instanceof Node)
					node.appendChild(child);
				else if (child !== null && child !== undefined)
					node.appendChild(document.createTextNode(String(child)));
			}
		}
		else if (children instanceof Node)
			node.appendChild(children);
		else if (children !== null && children !== undefined)
			node.innerHTML = String(children);
	},

	content(node, children) {
		node.replaceChildren();
		dom.append(node, children);
	},

	create(tag, attributes, children) {
		const node = document.createElement(tag);
		for (const name in attributes || {}) {
			const value = attributes[name];
			if (typeof(value) == 'function')
				node.addEventListener(name, value);
			else if (value !== null && value !== undefined)
				node.setAttribute(name, value);
		}
		dom.append(node, children);
		return node;
	}
};

window.E = dom.create;

const L = {
	resource: path => '/luci-static/resources/' + path,
	url: path => '/cgi-bin/luci/' + path,
	hasViewPermission: () => asked.get('as') != 'reader'
};

const baseclass = {
	extend(properties) {
		const made = function() {};
		Object.assign(made.prototype, properties);
		return made;
	}
};

/* ubus over HTTP, as uhttpd's module serves it. The session stands for a role,
   whose rights the bridge takes from the package's own ACL file. */
const rpc = {
	declare(options) {
		return (...args) => {
			const params = {};
			(options.params || []).forEach((name, i) => {
				if (args[i] !== undefined && args[i] !== null)
					params[name] = args[i];
			});
			return rpc.call(options.object, options.method, params).then(([ code, data ]) => {
				if (code && options.reject)
					throw new Error('RPC call to %s/%s failed with ubus code %d'.format(options.object, options.method, code));
				return data;
			});
		};
	},

	call(object, method, params) {
		return fetch('/ubus', {
			method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'call', params: [ asked.get('as') || 'owner', object, method, params ] })
		}).then(response => response.json()).then(reply => reply.result);
	}
};

const poll = {
	add(fn, seconds) {
		/* The tests ask for looks themselves. */
		poll.looks.push({ fn, seconds });
	},
	looks: []
};
window.standinPoll = poll;

/* Forms over UCI. */
const callUCI = (method, params) => rpc.call('uci', method, params).then(([ code, data ]) => {
	if (code)
		throw new Error('uci %s failed with ubus code %d'.format(method, code));
	return data;
});

/* Nothing is cached here, so nothing is to be dropped. */
const uci = { unload: () => undefined };

class Option {
	constructor(name, title, description) {
		Object.assign(this, { name, title, description, rmempty: true, choices: [] });
	}

	value(key, label) {
		this.choices.push([ key, label === undefined ? key : label ]);
	}

	check() {
		const value = this.read(), range = /^range\((\d+),(\d+)\)$/.exec(this.datatype || '');
		let good = true;
		if (value != '' && range)
			good = /^\d+$/.test(value) && +value >= +range[1] && +value <= +range[2] || 'out of range';
		if (good === true && this.validate)
			good = this.validate('agent', value);
		this.field.classList.toggle('cbi-input-invalid', good !== true);
		if (good !== true)
			throw new Error('%s: %s'.format(this.title, good));
		return value;
	}

	node(stored) {
		this.stored = stored;
		this.field = this.input(stored === undefined ? this.default || '' : stored);
		this.field.setAttribute('data-option', this.name);
		return dom.create('div', { 'class': 'cbi-value' }, [
			dom.create('label', { 'class': 'cbi-value-title' }, this.title),
			dom.create('div', { 'class': 'cbi-value-field' }, [
				this.field, dom.create('div', { 'class': 'cbi-value-description' }, this.description || '')
			])
		]);
	}
}

class Value extends Option {
	input(value) {
		const field = dom.create('input', { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.placeholder });
		field.value = value;
		return field;
	}
	read() { return this.field.value; }
}

class Flag extends Option {
	input(value) {
		const field = dom.create('input', { 'type': 'checkbox' });
		field.checked = value == '1';
		return field;
	}
	read() { return this.field.checked ? '1' : '0'; }
}

class ListValue extends Option {
	input(value) {
		const field = dom.create('select', {}, this.choices.map(([ key, label ]) => dom.create('option', { 'value': key }, [ label ])));
		field.value = value;
		return field;
	}
	read() { return this.field.value; }
}

class NamedSection {
	constructor(name) {
		Object.assign(this, { name, options: [] });
	}

	option(type, name, title, description) {
		const o = new type(name, title, description);
		this.options.push(o);
		return o;
	}
}

class Map_ {
	constructor(config, title, description) {
		Object.assign(this, { config, title, description, sections: [] });
	}

	section(type, name) {
		const s = new type(name);
		this.sections.push(s);
		return s;
	}

	render() {
		return callUCI('get', { config: this.config }).then(data => {
			const node = dom.create('div', { 'class': 'cbi-map' }, [
				dom.create('h3', {}, this.title),
				dom.create('div', { 'class': 'cbi-map-descr' }, this.description || ''),
				...this.sections.flatMap(s => s.options.map(o => o.node((data.values[s.name] || {})[o.name])))
			]);
			node.map = this;
			return node;
		});
	}

	async save() {
		const changes = [];
		for (const s of this.sections)
			for (const o of s.options) {
				const value = o.check(), gone = o.rmempty && (value == '' || value == o.default);
				if (gone && o.stored !== undefined)
					changes.push([ 'delete', { config: this.config, section: s.name, option: o.name } ]);
				else if (!gone && value != o.stored && !(value == '' && o.stored === undefined))
					changes.push([ 'set', { config: this.config, section: s.name, values: { [o.name]: value } } ]);
			}
		return changes.reduce((before, [ method, params ]) => before.then(() => callUCI(method, params)), Promise.resolve())
			.then(() => callUCI('commit', { config: this.config }));
	}
}

const form = { Map: Map_, NamedSection, Flag, Value, ListValue };

/* A view is its content, and buttons below where it has something to save. */
const view = {
	extend(properties) {
		const made = baseclass.extend(Object.assign({
			handleSaveApply: () => Promise.all([ ...document.querySelectorAll('.cbi-map') ].map(node => node.map.save()))
		}, properties));
		made.isView = true;
		return made;
	}
};

const modules = new Map(Object.entries({ baseclass, dom, form, poll, rpc, uci, view }).map(([ name, module ]) => [ name, Promise.resolve(module) ]));

/* 'require a.b as c' loads a/b.js and names what it returns. */
function load(name) {
	if (!modules.has(name))
		modules.set(name, fetch(L.resource(name.replace(/\./g, '/') + '.js')).then(response => {
			if (!response.ok)
				throw new Error('%s: HTTP %d'.format(name, response.status));
			return response.text();
		}).then(source => {
			const needs = [ ...source.matchAll(/^'require ([\w.]+)(?: as (\w+))?';$/gm) ].map(m => [ m[1], m[2] || m[1] ]);
			return Promise.all(needs.map(([ need ]) => load(need))).then(loaded => {
				const made = new Function('L', ...needs.map(n => n[1]), source + '\n//# sourceURL=' + name + '.js')(L, ...loaded);
				return made.isView ? made : new made();
			});
		}));
	return modules.get(name);
}

load('view.' + asked.get('view').replace('/', '.')).then(made => {
	const page = new made(), place = document.getElementById('view');
	return Promise.resolve(page.load()).then(data => page.render(data)).then(node => {
		dom.content(place, node);
		if (!page.handleSaveApply)
			return;
		const said = dom.create('span', { 'id': 'standin-said' }, []);
		place.appendChild(dom.create('div', { 'class': 'cbi-page-actions' }, [
			said, dom.create('button', { 'class': 'cbi-button cbi-button-apply', 'id': 'standin-apply', 'click': () => page.handleSaveApply()
				.then(() => { said.textContent = 'saved '; }, error => { said.textContent = error.message + ' '; }) }, [ 'Save & Apply' ])
		]));
	});
}).then(() => { document.documentElement.setAttribute('data-ready', 'true'); }, error => {
	document.documentElement.setAttribute('data-ready', 'failed');
	document.getElementById('view').textContent = error.stack;
});
