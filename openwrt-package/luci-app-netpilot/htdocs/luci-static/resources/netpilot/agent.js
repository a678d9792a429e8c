'use strict';
'require baseclass';
'require rpc';

/* The agent on ubus, and how its numbers are written. What it answers holds
   names that devices on the network chose: every text goes into the page as a
   text node, in an array, since LuCI takes a bare string for HTML. */

function declare(method, params, alone) {
	const call = rpc.declare({ object: 'netpilot', method, params: params || [], reject: true, nobatch: !!alone });

	/* The agent's own errors are answers, for ubus has only numbers. */
	return (...args) => call(...args).then(reply => {
		if (reply == null || typeof(reply) != 'object')
			throw new Error(_('The agent gave no answer. See the system log.'));
		if (reply.error) {
			const error = new Error(reply.error.message);
			error.kind = reply.error.kind;
			throw error;
		}
		return reply;
	});
}

const UNITS = [ 'B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB' ];

return baseclass.extend({
	status: declare('status', [ 'brief' ]),
	doctor: declare('doctor', [], true),
	live: declare('usage_live', [], true),
	history: declare('usage_history', [ 'days', 'resolution' ]),
	summary: declare('usage_summary', [ 'days', 'limit' ]),
	devices: declare('devices_list', [ 'limit' ]),
	rename: declare('devices_set', [ 'mac', 'alias' ]),
	enroll: declare('enroll', [ 'relay', 'token' ], true),

	/* Bytes as the command line writes them. */
	bytes(n) {
		let unit = 0;
		for (n = +n || 0; n >= 1024 && unit < UNITS.length - 1; unit++)
			n /= 1024;
		if (n % 1 == 0.25) /* a tie, which Go rounds to the even digit */
			n -= 0.05;
		return '%s\u00a0%s'.format(unit ? n.toFixed(1) : String(Math.round(n)), UNITS[unit]);
	},

	/* Down and up each second; a line breaks between them only. */
	rates(rx, tx) {
		return '↓\u00a0%s/s ↑\u00a0%s/s'.format(this.bytes(rx), this.bytes(tx));
	},

	/* An instant in the reader's own zone; the day only if it is another. */
	when(text) {
		const at = new Date(text);
		if (isNaN(at))
			return '–';
		const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
		return at.toDateString() == new Date().toDateString() ? time : '%s %s'.format(at.toLocaleDateString(), time);
	},

	/* What went wrong, for a person. */
	failure(error) {
		return E('div', { 'class': 'np-error', 'role': 'alert' }, [ String(error && error.message || error) ]);
	}
});
