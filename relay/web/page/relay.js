/* The relay's REST API, asked with a key. The key goes into a header of each
   request, and nowhere else. */

/* A stream that says nothing is dead: the relay says each 15 s that it is there. */
const SILENCE = 40_000;

/* Between tries to reach the relay again, in ms: doubling, and never all pages at once. */
const FIRST_WAIT = 1000, LONGEST_WAIT = 30_000;

export class RelayError extends Error {
	constructor(code, message, status = 0, retryAfter = 0) {
		super(message);
		this.code = code;
		this.status = status;
		this.retryAfter = retryAfter;
	}
}

/* The words of an answer that is an error; of what is not the relay's, its status. */
async function failure(response) {
	const wait = Number(response.headers.get('Retry-After')) || 0;
	try {
		const { error } = await response.json();
		return new RelayError(String(error.code), String(error.message), response.status, wait);
	} catch {
		return new RelayError('HTTP_' + response.status, `The relay, or a proxy before it, answered with status ${response.status}.`, response.status, wait);
	}
}

const gone = error => error.name == 'AbortError';

export class Relay {
	#key;
	#refused;

	/* refused is called when the key is not in force, or not any more. */
	constructor(key, refused) {
		this.#key = key;
		this.#refused = refused;
	}

	async #ask(method, path, query, { body, signal, accept } = {}) {
		const url = new URL(path, location.origin);
		for (const [name, value] of Object.entries(query || {}))
			if (value !== undefined && value !== null && value !== '')
				url.searchParams.set(name, value);
		const headers = { Authorization: 'Bearer ' + this.#key, Accept: accept || 'application/json' };
		if (body)
			headers['Content-Type'] = 'application/json';
		let response;
		try {
			response = await fetch(url, {
				method, headers, signal, body: body && JSON.stringify(body),
				cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer'
			});
		} catch (error) {
			if (gone(error))
				throw error;
			throw new RelayError('UNREACHABLE', 'The relay cannot be reached from here.');
		}
		if (response.ok)
			return response;
		const error = await failure(response);
		if (error.status == 401)
			this.#refused(error);
		throw error;
	}

	async #envelope(response) {
		try {
			const { data, metadata } = await response.json();
			return { data, meta: metadata };
		} catch (error) {
			if (gone(error))
				throw error;
			throw new RelayError('BROKEN_OFF', 'The answer broke off.');
		}
	}

	/* The data of an answer, and its metadata: source, cached, stale, asOf. */
	async get(path, query, signal) { return this.#envelope(await this.#ask('GET', path, query, { signal })); }

	async put(path, query, body, signal) { return this.#envelope(await this.#ask('PUT', path, query, { body, signal })); }

	/* A whole file, and what it is to be called. */
	async file(path, query, signal) {
		const response = await this.#ask('GET', path, query, { signal, accept: '*/*' });
		try {
			const said = /filename="([\w.-]+)"/.exec(response.headers.get('Content-Disposition') || '');
			return { blob: await response.blob(), name: said && said[1] };
		} catch (error) {
			if (gone(error))
				throw error;
			throw new RelayError('BROKEN_OFF', 'The file broke off. What came of it was thrown away.');
		}
	}

	/* Follows /api/stream until signal says stop, through breaks. on.event(name, data)
	   is told of events; hello comes first and after each break, so whoever follows
	   asks for the state then. on.state(open, error) is told when the stream opens,
	   when it breaks, and of each try to open it that failed. */
	async follow(query, on, signal) {
		let wait = FIRST_WAIT;
		while (!signal.aborted) {
			let error = null;
			try {
				await this.#once(query, signal, (name, data) => {
					if (name == 'hello') {
						wait = FIRST_WAIT;
						on.state(true, null);
					}
					on.event(name, data);
				});
			} catch (failed) {
				error = failed;
			}
			if (signal.aborted || error && error.status == 401)
				return;
			on.state(false, error);
			const pause = Math.max(wait * (0.5 + Math.random() / 2), error && error.retryAfter ? error.retryAfter * 1000 : 0);
			wait = Math.min(2 * wait, LONGEST_WAIT);
			await new Promise(done => {
				const end = () => {
					clearTimeout(timer);
					removeEventListener('online', end);
					signal.removeEventListener('abort', end);
					done();
				};
				const timer = setTimeout(end, pause);
				addEventListener('online', end);
				signal.addEventListener('abort', end);
			});
		}
	}

	/* One life of the stream. */
	async #once(query, signal, event) {
		const silent = new AbortController();
		const response = await this.#ask('GET', '/api/stream', query, { signal: AbortSignal.any([ signal, silent.signal ]), accept: 'text/event-stream' });
		let timer = 0;
		const heard = () => {
			clearTimeout(timer);
			timer = setTimeout(() => silent.abort(), SILENCE);
		};
		heard();
		const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
		try {
			let rest = '';
			for (;;) {
				const { done, value } = await reader.read();
				if (done)
					return;
				heard();
				const blocks = (rest + value).split('\n\n');
				rest = blocks.pop();
				if (rest.length > 4 << 20)
					throw new RelayError('BROKEN_OFF', 'An event is too long.');
				for (const block of blocks)
					parse(block, event);
			}
		} catch (error) {
			throw error instanceof RelayError ? error : new RelayError('UNREACHABLE', 'The stream of events broke off.');
		} finally {
			clearTimeout(timer);
			reader.cancel().catch(() => {}); // it may have ended
		}
	}
}

/* One event of a stream (HTML, section 9.2.6, as far as the relay writes it). */
function parse(block, event) {
	let name = 'message', data = '';
	for (const line of block.split('\n')) {
		if (line.startsWith('event: '))
			name = line.slice(7);
		else if (line.startsWith('data: '))
			data += line.slice(6);
	}
	if (!data)
		return;
	let value;
	try {
		value = JSON.parse(data);
	} catch {
		return; // not ours
	}
	event(name, value);
}
