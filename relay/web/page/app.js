/* The dashboard: who looks, which view is open, and the link to the relay. */

import { h, grow, problem, instant } from './dom.js';
import { Relay } from './relay.js';
import { fleet } from './fleet.js';
import { router } from './router.js';
import { device } from './device.js';

/* The key is kept in this tab alone, until it is closed or its reader signs out. */
const KEPT = 'netpilot.key';

/* Views look again so often, besides when the relay tells of something. */
const LOOK = 60_000, GROW = 10_000;

const find = id => document.getElementById(id);

/* Some browsers keep nothing when told so; the key then lasts as long as the page. */
function keep(key) {
	try {
		if (key)
			sessionStorage.setItem(KEPT, key);
		else
			sessionStorage.removeItem(KEPT);
	} catch { /* kept nowhere */ }
}

function kept() {
	try {
		return sessionStorage.getItem(KEPT);
	} catch {
		return null;
	}
}

class App {
	#relay = null;
	#me = null; // what the relay says of the key
	#leaving = new AbortController(); // of the open view
	#view = null;
	#gone = h('div', { id: 'gone', role: 'alert' });

	start() {
		find('leave').addEventListener('click', () => this.signOut());
		find('skip').addEventListener('click', () => find('main').focus());
		addEventListener('hashchange', () => this.#route());
		document.addEventListener('visibilitychange', () => this.#look());
		addEventListener('online', () => this.#look());
		setInterval(() => grow(document.body), GROW);
		setInterval(() => this.#look(), LOOK);
		const key = kept();
		if (key)
			this.#enter(key).catch(error => this.#stuck(key, error));
		else
			this.#ask();
	}

	#look() {
		if (!document.hidden && this.#view)
			this.#view.refresh();
	}

	/* Leaves the open view: what it has asked for ends. */
	#close() {
		this.#leaving.abort();
		this.#leaving = new AbortController();
		this.#view = null;
	}

	signOut(message) {
		keep(null);
		this.#close();
		this.#relay = this.#me = null;
		find('who').hidden = true;
		if (location.hash)
			history.replaceState(null, '', location.pathname);
		this.#ask(message || 'You are signed out.');
	}

	/* Asks for a key. */
	#ask(message) {
		document.title = 'netpilot';
		const input = h('input', { id: 'secret', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true, 'aria-describedby': 'hint' });
		const said = h('div', { id: 'refused', role: 'alert' }), button = h('button', { class: 'main' }, 'Open');
		if (message)
			said.append(h('p', { class: 'note' }, message));
		const form = h('form', { class: 'panel sign', onsubmit: event => {
			event.preventDefault();
			/* The whole line of a header file will do, too. */
			const key = input.value.trim().replace(/^(authorization:\s*)?bearer\s+/i, '');
			if (!/^[\x21-\x7e]+$/.test(key)) {
				said.replaceChildren(h('p', { class: 'note bad' }, 'That is no API key: one is a word without blanks that begins with npk_.'));
				return;
			}
			button.disabled = true;
			said.replaceChildren();
			this.#enter(key).catch(error => {
				button.disabled = false;
				said.replaceChildren(problem(error));
				input.focus();
			});
		} },
			h('h1', {}, 'Open the dashboard'),
			h('label', { for: 'secret' }, 'API key'),
			h('div', { class: 'row' }, input, button),
			said,
			h('p', { id: 'hint' }, 'Made on the relay with ', h('code', {}, 'netpilot-relay key create --name dashboard'),
				'. The scope read is enough; renaming devices needs write. The key stays in this tab, until you sign out or close it.'));
		find('main').replaceChildren(form);
		input.focus();
	}

	/* Opens the dashboard with a key, or throws. */
	async #enter(key) {
		let refused = null;
		const relay = new Relay(key, error => {
			refused = error;
			if (this.#relay == relay)
				this.signOut(error.message);
		});
		let me;
		try {
			me = (await relay.get('/api/key')).data;
		} catch (error) {
			if (refused)
				keep(null);
			throw error;
		}
		keep(key);
		this.#relay = relay;
		this.#me = me;
		find('who').hidden = false;
		find('key').textContent = `${me.name} · ${me.scope}` + (me.expires_at ? ` · until ${instant(me.expires_at)}` : '');
		this.#route();
	}

	/* The kept key does not open the dashboard. */
	#stuck(key, error) {
		if (error.status == 401) {
			this.#ask(error.message);
			return;
		}
		const again = () => this.#enter(key).catch(failed => this.#stuck(key, failed));
		find('main').replaceChildren(problem(error, again), h('button', { type: 'button', onclick: () => this.signOut() }, 'Sign out'));
	}

	/* The view that the address names. */
	#route() {
		if (!this.#relay)
			return;
		this.#close();
		const signal = this.#leaving.signal, main = find('main');
		const [ kind, id, mac ] = location.hash.replace(/^#\/?/, '').split('/');
		const context = {
			relay: this.#relay, me: this.#me, signal,
			say: text => { find('said').textContent = text; },
			/* Follows the relay's events; told, if given, is told why that fails. */
			follow: (query, on, until = signal, told = null) => this.#relay.follow(query, {
				event: on,
				state: (open, error) => {
					this.#link(open, error);
					if (error && told)
						told(error);
				}
			}, until)
		};
		this.#link(null);
		let view;
		if (kind == 'router' && /^[0-9a-f]{64}$/.test(id || '') && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac || ''))
			view = device(context, id, mac);
		else if (kind == 'router' && /^[0-9a-f]{64}$/.test(id || ''))
			view = router(context, id);
		else
			view = fleet(context);
		main.replaceChildren(this.#gone, view.element);
		scrollTo(0, 0);
		this.#view = view;
		view.titled(title => { document.title = title ? `${title} – netpilot` : 'netpilot'; });
		main.focus({ preventScroll: true });
	}

	/* Says whether events come. */
	#link(open, error) {
		const link = find('link');
		link.className = open === null ? '' : open ? 'open' : 'broken';
		link.textContent = open === null ? '' : open ? 'Live' : 'Reconnecting…';
		this.#gone.replaceChildren(...error ? [ h('div', { class: 'note bad' },
			h('strong', {}, error.message), ' What is shown is from before; it is tried again by itself.') ] : []);
	}
}

new App().start();
