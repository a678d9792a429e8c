/* Elements, and how numbers and times are written. All that routers say goes
   into the page as text nodes: names there are chosen by whoever joins a Wi-Fi. */

function fill(node, attrs, children) {
	for (const [name, value] of Object.entries(attrs || {})) {
		if (name.startsWith('on'))
			node.addEventListener(name.slice(2), value);
		else if (value !== null && value !== undefined && value !== false)
			node.setAttribute(name, value === true ? '' : value);
	}
	for (const child of children.flat(Infinity))
		if (child !== null && child !== undefined && child !== false && child !== '')
			node.append(child); // text becomes a text node
	return node;
}

export const h = (tag, attrs, ...children) => fill(document.createElement(tag), attrs, children);

export const svg = (tag, attrs, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attrs, children);

/* A name that somebody else chose, apart from the direction of what is around it. */
export const named = (text, attrs) => h('bdi', attrs, text);

const UNITS = [ 'B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB' ];

/* Bytes as the command line writes them. */
export function bytes(n) {
	let unit = 0;
	for (n = Number(n) || 0; n >= 1024 && unit < UNITS.length - 1; unit++)
		n /= 1024;
	if (n % 1 == 0.25) // a tie, which Go rounds to the even digit
		n -= 0.05;
	return (unit ? n.toFixed(1) : String(Math.round(n))) + '\u00a0' + UNITS[unit];
}

export const rate = n => bytes(n) + '/s';

/* Down and up; a line breaks between them only. */
export const both = (rx, tx, write = bytes) => `↓\u00a0${write(rx)} ↑\u00a0${write(tx)}`;

export const count = n => Number(n || 0).toLocaleString();

export const percent = n => (Number(n) || 0).toFixed(1) + '\u00a0%';

/* An age as the command line writes it. */
function age(seconds) {
	if (seconds < 120)
		return Math.max(Math.floor(seconds), 0) + ' s';
	if (seconds < 7200)
		return Math.floor(seconds / 60) + ' min';
	if (seconds < 172800)
		return Math.floor(seconds / 3600) + ' h';
	return Math.floor(seconds / 86400) + ' days';
}

/* An instant in the reader's own zone and manner; the day only if it is another. */
export function instant(text) {
	const at = new Date(text);
	if (!text || isNaN(at))
		return '–';
	return at.toDateString() == new Date().toDateString() ? at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' })
		: at.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

const whole = text => new Date(text).toLocaleString([], { dateStyle: 'full', timeStyle: 'long' });

/* An element with an instant, or with how long ago it is, which goes on. */
export function time(text, ago) {
	if (!text || isNaN(new Date(text)))
		return h('span', {}, 'never');
	const node = h('time', { datetime: text, title: whole(text), 'data-ago': ago });
	node.textContent = ago ? age((Date.now() - new Date(text)) / 1000) + ' ago' : instant(text);
	return node;
}

/* Brings the ages below a node up to date. */
export function grow(node) {
	for (const each of node.querySelectorAll('time[data-ago]'))
		each.textContent = age((Date.now() - new Date(each.dateTime)) / 1000) + ' ago';
}

/* What a router calls its zone, of which JavaScript knows no names: "CET
   (UTC+01:00)" of CET-1CEST,... and an instant with that zone's offset. */
export function zoneName(tz, stamp) {
	const name = /^<?([A-Za-z0-9+-]+?)>?(?=[+-]?\d|$)/.exec(tz || '');
	const offset = /(Z|[+-]\d\d:\d\d)$/.exec(stamp || '');
	const utc = offset && (offset[1] == 'Z' ? 'UTC' : 'UTC' + offset[1]);
	const said = name ? name[1] : '';
	return said && utc && said != utc ? `${said} (${utc})` : said || utc || 'UTC';
}

export const dot = (tone, title) => h('span', { class: 'dot ' + tone, ...title ? { role: 'img', 'aria-label': title, title } : { 'aria-hidden': 'true' } });

export const share = part => {
	const bar = h('div', { class: 'share', 'aria-hidden': 'true' }, h('div'));
	bar.firstChild.style.width = Math.min(Math.max(Number(part) || 0, 0), 100) + '%';
	return bar;
};

/* What to do about an error, where the relay's own words do not say it. */
const NEXT = {
	UNREACHABLE: 'Is this computer online, and does the relay run?',
	ROUTER_OFFLINE: 'On the router, netpilot-agent status says why.',
	ROUTER_TIMEOUT: 'It may be busy: try again.',
	RATE_LIMITED: 'Wait a moment, then try again.',
	BROKEN_OFF: 'Try again.'
};

export function problem(error, again) {
	return h('div', { class: 'note bad', role: 'alert' },
		h('p', {}, h('strong', {}, error.message || String(error))),
		NEXT[error.code] && h('p', {}, NEXT[error.code]),
		again && h('button', { type: 'button', 'data-focus': 'again', onclick: again }, 'Try again'));
}

/* A part of a page that is loaded by itself, with a bar if that takes over a
   second. While it is loaded again what it showed stays. */
export class Panel {
	#turn = 0;

	constructor(title, { id, kind = '' }, ...tools) {
		this.body = h('div', { class: 'body' });
		this.element = h('section', { id, class: 'panel ' + kind, 'aria-label': title },
			h('div', { class: 'head' }, h('h2', {}, title), ...tools), this.body);
	}

	/* Puts content in place of what was there. Who had the focus keeps it. */
	show(...content) {
		const held = this.body.contains(document.activeElement) && document.activeElement.dataset.focus;
		this.body.replaceChildren(...content.flat(Infinity).filter(c => c));
		if (held)
			this.body.querySelector(`[data-focus="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
	}

	/* Shows what render makes of what ask answers. An answer that another load,
	   or signal, has overtaken is dropped; ask may look whether it was. */
	async load(signal, ask, render) {
		const turn = ++this.#turn;
		const late = () => signal.aborted || turn != this.#turn;
		this.element.setAttribute('aria-busy', 'true');
		let answer, error;
		try {
			answer = await ask(late);
		} catch (failed) {
			error = failed;
		}
		if (late())
			return;
		this.element.removeAttribute('aria-busy');
		if (!error) {
			try {
				render(answer);
				return;
			} catch (failed) { // a router may say anything
				error = new Error(`This page does not understand what was answered: ${failed.message}`);
			}
		}
		if (error.code != 'UNREACHABLE')
			this.show(problem(error, () => this.load(signal, ask, render)));
		else if (!this.body.firstChild) // the page says above why, and all is asked again when the relay is back
			this.show(h('p', { class: 'empty' }, 'Waiting for the relay.'));
	}
}

/* A table of rows. A column: title, cell(row), and if it is so, num, sort. */
export function table(caption, columns, rows, { sorted, onsort, attrs } = {}) {
	return h('table', {},
		h('caption', { class: 'unseen' }, caption),
		h('thead', {}, h('tr', {}, columns.map(c => h('th', {
			scope: 'col', class: (c.num ? 'num ' : '') + (c.sort ? 'sorts' : ''),
			'aria-sort': c.sort && c.sort == sorted ? c.order || 'descending' : null
		}, c.sort ? h('button', { type: 'button', 'data-focus': 'sort-' + c.sort, onclick: () => onsort(c.sort) }, c.title) : c.title)))),
		h('tbody', {}, rows.map(row => h('tr', attrs ? attrs(row) : {}, columns.map((c, i) =>
			h(i ? 'td' : 'th', { scope: i ? null : 'row', class: c.num ? 'num' : null, 'data-title': c.title }, c.cell(row)))))));
}

/* Where a page of a list is, and the way to the others. */
export function pager(offset, shown, total, size, go) {
	if (!total || total <= size && !offset)
		return null;
	return h('div', { class: 'pager' },
		h('span', {}, shown ? `${count(offset + 1)}–${count(offset + shown)} of ${count(total)}` : `none of ${count(total)} here`),
		h('button', { type: 'button', 'data-focus': 'before', disabled: offset <= 0, onclick: () => go(Math.max(offset - size, 0)) }, 'Before'),
		h('button', { type: 'button', 'data-focus': 'next', disabled: offset + size >= total, onclick: () => go(offset + size) }, 'Next'));
}

/* Buttons of which one is pressed. */
export function choice(label, options, chosen, choose) {
	const group = h('div', { class: 'choice', role: 'group', 'aria-label': label }, options.map(([ value, title ]) =>
		h('button', { type: 'button', 'aria-pressed': String(value == chosen), 'data-value': value, onclick: () => {
			for (const button of group.children)
				button.setAttribute('aria-pressed', String(button.dataset.value == String(value)));
			choose(value);
		} }, title)));
	return group;
}

/* Calls f at once, then not again before ms have gone by, then once for all calls between. */
export function throttle(ms, signal, f) {
	let timer = 0, again = false;
	const run = () => {
		f();
		timer = setTimeout(() => {
			timer = 0;
			if (again && !signal.aborted) {
				again = false;
				run();
			}
		}, ms);
	};
	signal.addEventListener('abort', () => clearTimeout(timer));
	return () => {
		if (timer)
			again = true;
		else if (!signal.aborted)
			run();
	};
}
