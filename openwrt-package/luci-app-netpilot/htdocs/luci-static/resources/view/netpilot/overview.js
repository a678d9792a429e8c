'use strict';
'require view';
'require dom';
'require poll';
'require netpilot.agent as agent';
'require netpilot.chart as chart';

/* How many devices are listed: with more the page would be of no use, and an
   answer on ubus has its bounds. */
const MOST = 200;

/* Rates change when nlbwmon refreshes, every 30 s unless it is told otherwise;
   each look starts a process on the router. */
const LOOK_SECONDS = 10, EVERYTHING_EACH = 6;

const RANGES = [
	{ id: 'today', days: 1, title: _('Today') },
	{ id: 'week', days: 7, title: _('7 days') },
	{ id: 'month', days: 30, title: _('30 days') }
];

function card(title, tone, text, ...notes) {
	return E('div', { 'class': 'np-card' }, [
		E('h4', {}, [ title ]),
		E('div', {}, [ E('span', { 'class': 'np-dot ' + tone }, []), E('strong', {}, [ text ]) ]),
		...notes.filter(n => n).map(n => E('p', {}, [ n ]))
	]);
}

return view.extend({
	handleSaveApply: null,
	handleSave: null,
	handleReset: null,

	load() {
		return agent.status(false).then(status => ({ status }), error => ({ error }));
	},

	render(loaded) {
		this.range = RANGES[0];
		this.rates = new Map();
		this.looks = 0;
		this.cards = E('div', { 'class': 'np-cards' }, []);
		this.findings = E('div', {}, []);
		this.usage = E('div', {}, []);
		this.devices = E('div', {}, []);
		this.doctor = E('div', { 'class': 'np-panel' }, [
			E('div', { 'class': 'np-head' }, [
				E('h3', {}, [ _('Doctor') ]),
				E('button', { 'type': 'button', 'class': 'np-link', 'click': () => this.examine() }, [ _('Examine again') ])
			]),
			this.findings
		]);
		this.choice = E('div', { 'class': 'np-choice', 'role': 'group', 'aria-label': _('Time') }, RANGES.map(range =>
			E('button', { 'type': 'button', 'aria-pressed': String(range == this.range), 'data-range': range.id, 'click': () => this.choose(range) }, [ range.title ])));
		this.showStatus(loaded.status, loaded.error);
		this.examine();
		this.loadUsage();
		this.loadLive();
		poll.add(() => this.look(), LOOK_SECONDS);
		return E('div', { 'class': 'np' }, [
			E('link', { 'rel': 'stylesheet', 'href': L.resource('netpilot/netpilot.css') }, []),
			E('h2', {}, [ _('netpilot') ]),
			this.cards,
			E('div', { 'class': 'np-panel' }, [
				E('div', { 'class': 'np-head' }, [ E('h3', {}, [ _('Usage') ]), this.choice ]),
				this.usage
			]),
			E('div', { 'class': 'np-panel' }, [ E('h3', {}, [ _('Devices') ]), this.devices ]),
			this.doctor
		]);
	},

	/* One look of the poll. */
	look() {
		if (document.hidden)
			return Promise.resolve();
		const all = ++this.looks % EVERYTHING_EACH == 0;
		return Promise.all([
			agent.status(!all).then(status => this.showStatus(status), error => this.showStatus(null, error)),
			this.loadLive(),
			all ? this.loadUsage() : null
		]);
	},

	showStatus(status, error) {
		if (error) {
			dom.content(this.cards, [ agent.failure(error) ]);
			return;
		}
		/* A brief status says nothing of nlbwmon; what the last whole one said stays. */
		if (status.nlbwmon.refresh_seconds)
			this.nlbwmon = status.nlbwmon;
		/* What doctor said is of another router, as it were. */
		const changed = this.status && (this.status.uplink.running != status.uplink.running || this.status.uplink.connected != status.uplink.connected);
		this.status = status;
		this.showCards();
		if (changed)
			this.examine();
	},

	showCards() {
		if (!this.status)
			return;
		dom.content(this.cards, [ this.linkCard(), this.liveCard(), this.countingCard(), this.nlbwmonCard() ]);
	},

	linkCard() {
		const link = this.status.uplink, title = _('Relay');
		if (!link.enrolled)
			return card(title, '', _('Not enrolled'), E('a', { 'href': L.url('admin/services/netpilot/settings') }, [ _('Enrol this router') ]),
				link.running ? null : _('The service does not run.'));
		if (!link.running)
			return card(title, 'bad', _('The service does not run'), link.relay, link.error);
		if (link.connected)
			return card(title, 'good', _('Connected'), link.relay, link.since ? _('since %s').format(agent.when(link.since)) : null);
		return card(title, 'bad', _('Not connected'), link.relay, link.error,
			link.next_dial ? _('next try at %s').format(agent.when(link.next_dial)) : null);
	},

	liveCard() {
		const title = _('Just now'), live = this.live;
		if (this.liveError)
			return card(title, '', _('Not known'), this.liveError);
		if (!live)
			return card(title, '', _('Loading…'));
		if (live.stale)
			return card(title, 'warn', _('No fresh numbers'), _('nlbwmon has not refreshed when it should have.'));
		if (!live.as_of)
			return card(title, '', _('No rates yet'), _('They come with nlbwmon\'s second refresh, each %s s.').format(live.refresh_seconds));
		return card(title, 'good', agent.rates(live.total_rx_bytes_per_second, live.total_tx_bytes_per_second),
			_('mean of the %s s until %s').format(Math.round(live.seconds), agent.when(live.as_of)),
			_('nlbwmon refreshes every %s s').format(live.refresh_seconds));
	},

	countingCard() {
		const counting = this.status.counting, title = _('Counting');
		if (!counting)
			return card(title, '', _('Not known'));
		const accuracy = counting.accuracy == null ? _('accuracy not known yet')
			: _('%s of what the WAN moved').format((100 * counting.accuracy).toFixed(1) + ' %');
		return card(title, !counting.ok ? 'warn' : counting.accuracy == null ? '' : 'good', counting.ok ? _('Nothing wrong is known') : _('The numbers are wrong'), accuracy,
			...counting.reasons.map(r => r.text));
	},

	nlbwmonCard() {
		const n = this.nlbwmon, title = _('nlbwmon');
		if (!n)
			return card(title, '', _('Not known'));
		if (!n.ok)
			/* Behind the parenthesis stands what every source said; doctor has it in rows. */
			return card(title, 'bad', _('Cannot be read'), n.error.split(' (')[0]);
		return card(title, n.full ? 'warn' : 'good', n.full ? _('Its table is full') : _('Answers'),
			_('%s rows, by %s').format(n.limit ? '%s/%s'.format(n.rows, n.limit) : n.rows, n.source),
			n.period ? _('period since %s').format(n.period) : null);
	},

	loadLive() {
		return agent.live().then(live => {
			this.live = live;
			this.liveError = null;
			this.rates = new Map(live.devices.map(d => [ d.mac, d ]));
		}, error => {
			this.live = null;
			this.liveError = error.message;
			this.rates = new Map();
		}).then(() => {
			this.showCards();
			this.showRates();
		});
	},

	examine() {
		dom.content(this.findings, [ E('em', {}, [ _('Examining the router…') ]) ]);
		return agent.doctor().then(report => {
			const rows = report.findings.map(f => E('div', { 'class': 'np-finding ' + (/^(error|warning|note)$/.test(f.severity) ? f.severity : '') }, [
				E('p', {}, [ E('strong', {}, [ f.text ]) ]),
				E('p', { 'class': 'np-note' }, [ _('Seen: %s').format(f.evidence) ]),
				f.cure ? E('p', {}, [ _('Cure:'), ' ', E('code', {}, [ f.cure ]) ]) : '',
				f.fixed ? E('p', {}, [ _('It was fixed before. Undo:'), ' ', E('code', {}, [ 'netpilot-agent doctor --undo ' + f.id ]) ])
					: f.fixable ? E('p', {}, [ _('Or on the router:'), ' ', E('code', {}, [ 'netpilot-agent doctor --fix ' + f.id ]) ]) : ''
			]));
			this.doctor.classList.toggle('np-first', !report.healthy);
			if (report.healthy)
				rows.unshift(E('div', { 'class': 'np-done' }, [ _('Healthy: nothing is known that makes the numbers wrong or keeps them from the relay.') ]));
			rows.push(E('p', { 'class': 'np-note' }, [ _('Examined at %s.').format(agent.when(new Date())) ]));
			dom.content(this.findings, rows);
		}, error => dom.content(this.findings, [ agent.failure(error) ]));
	},

	choose(range) {
		this.range = range;
		for (const button of this.choice.querySelectorAll('button'))
			button.setAttribute('aria-pressed', String(button.getAttribute('data-range') == range.id));
		return this.loadUsage();
	},

	/* The usage of the range, and who is known. What comes late, after another
	   range was chosen, is dropped. */
	loadUsage() {
		const range = this.range;
		const late = () => range != this.range;
		const known = agent.devices(MOST).then(list => { this.known = list; }, error => { this.known = { error }; });
		const used = Promise.all([
			agent.summary(range.days, MOST),
			range.days == 1 ? agent.history(1, '1h') : null
		]).then(([ summary, history ]) => {
			if (late())
				return;
			this.summary = summary;
			this.showUsage(summary, history ? chart.hours(history) : chart.days(summary));
		}, error => {
			if (late())
				return;
			this.summary = null;
			dom.content(this.usage, [ agent.failure(error) ]);
		});
		return Promise.all([ known, used ]).then(() => late() ? null : this.showDevices());
	},

	showUsage(summary, slots) {
		if (!summary.total_bytes) {
			dom.content(this.usage, [ E('div', { 'class': 'np-empty' }, [ _('Nothing was counted in this time yet.') ]) ]);
			return;
		}
		const gaps = summary.gaps;
		dom.content(this.usage, [
			E('p', { 'class': 'np-totals' }, [
				E('strong', {}, [ agent.bytes(summary.total_bytes) ]),
				_('%s down, %s up').format(agent.bytes(summary.bytes_rx), agent.bytes(summary.bytes_tx))
			]),
			chart.render(slots),
			gaps.length ? E('p', { 'class': 'np-note' }, [ _('Not counted: %s to %s, %s').format(
				agent.when(gaps[gaps.length - 1].from), agent.when(gaps[gaps.length - 1].to), gaps[gaps.length - 1].reason),
				gaps.length > 1 ? '; ' + _('%s earlier').format(gaps.length - 1) : '' ]) : ''
		]);
	},

	/* Who used something, most first, then who is known besides. */
	rows() {
		const known = new Map((this.known.devices || []).map(d => [ d.mac, d ]));
		const rows = (this.summary ? this.summary.top_devices : []).map(used => {
			const device = known.get(used.mac);
			known.delete(used.mac);
			return { device: device || used, used };
		});
		return rows.concat([ ...known.values() ].map(device => ({ device, used: null })));
	},

	showDevices() {
		/* A row that somebody is renaming is not taken away from under the hands. */
		if (this.devices.querySelector('.np-rename'))
			return;
		const rows = this.rows();
		const content = [];
		if (this.known.error)
			content.push(agent.failure(this.known.error));
		if (!rows.length) {
			if (!this.known.error)
				content.push(E('div', { 'class': 'np-empty' }, [ _('No device is known yet.') ]));
			dom.content(this.devices, content);
			return;
		}
		content.push(E('table', { 'class': 'np-devices' }, [
			E('thead', {}, [ E('tr', {}, [
				E('th', {}, [ _('Device') ]), E('th', {}, [ _('Address') ]), E('th', { 'class': 'num' }, [ _('Just now') ]),
				E('th', { 'class': 'num' }, [ _('Down') ]), E('th', { 'class': 'num' }, [ _('Up') ]), E('th', {}, [ _('Share') ])
			]) ]),
			E('tbody', {}, rows.map(row => this.deviceRow(row)))
		]));
		const total = Math.max(this.known.total_devices || 0, this.summary ? this.summary.total_devices : 0);
		if (total > rows.length)
			content.push(E('p', { 'class': 'np-note' }, [ _('%s of %s devices; all of them: netpilot-agent devices').format(rows.length, total) ]));
		dom.content(this.devices, content);
		this.showRates();
	},

	deviceRow(row) {
		const { device, used } = row;
		const cell = E('td', {}, []);
		this.showName(cell, device);
		const share = used ? used.percentage : 0;
		return E('tr', { 'data-mac': device.mac }, [
			cell,
			E('td', { 'data-title': _('Address') }, [ device.ip || '–' ]),
			E('td', { 'class': 'num np-rate', 'data-title': _('Just now') }, [ '–' ]),
			E('td', { 'class': 'num', 'data-title': _('Down') }, [ used ? agent.bytes(used.bytes_rx) : '–' ]),
			E('td', { 'class': 'num', 'data-title': _('Up') }, [ used ? agent.bytes(used.bytes_tx) : '–' ]),
			E('td', { 'class': 'total' }, [
				E('span', {}, [ used ? share.toFixed(1) + ' %' : '–' ]),
				E('div', { 'class': 'np-share' }, [ E('div', { 'style': 'width:%s%%'.format(Math.min(Math.max(+share || 0, 0), 100)) }, []) ])
			])
		]);
	},

	showRates() {
		for (const row of this.devices.querySelectorAll('tr[data-mac]')) {
			const rate = this.rates.get(row.getAttribute('data-mac')), cell = row.querySelector('.np-rate');
			cell.textContent = rate ? agent.rates(rate.rx_bytes_per_second, rate.tx_bytes_per_second) : '–';
		}
	},

	showName(cell, device) {
		const name = device.alias || device.hostname || device.vendor || device.mac;
		const more = [ device.mac, device.alias && device.hostname, device.vendor, device.randomized ? _('random MAC') : null, device.group, device.category ];
		dom.content(cell, [
			E('span', {
				'class': 'np-dot ' + (device.online ? 'good' : ''),
				'title': device.online == null ? _('not known whether it is there') : device.online ? _('there now') : _('away')
			}, []),
			E('span', { 'class': 'np-name' }, [ name ]),
			L.hasViewPermission() ? E('button', {
				'type': 'button', 'class': 'np-link', 'aria-label': _('Rename %s').format(name), 'click': () => this.rename(cell, device)
			}, [ _('Rename') ]) : '',
			E('br', {}, []),
			E('small', {}, [ more.filter(m => m && m != name).join(' · ') ])
		]);
	},

	/* The name becomes a field; Enter saves, Escape leaves it. An empty name
	   gives the device its own one back. */
	rename(cell, device) {
		const input = E('input', { 'type': 'text', 'maxlength': 63, 'aria-label': _('Name of %s').format(device.mac) }, []);
		const trouble = E('div', {}, []);
		const save = E('button', { 'type': 'button', 'class': 'cbi-button cbi-button-save' }, [ _('Save') ]);
		const cancel = E('button', { 'type': 'button', 'class': 'cbi-button cbi-button-reset' }, [ _('Cancel') ]);
		input.value = device.alias || '';
		input.placeholder = device.hostname || device.mac;
		const leave = () => this.showName(cell, device);
		const send = () => {
			save.disabled = input.disabled = true;
			return agent.rename(device.mac, input.value.trim()).then(reply => {
				Object.assign(device, { alias: reply.device.alias, hostname: reply.device.hostname });
				leave();
			}, error => {
				save.disabled = input.disabled = false;
				dom.content(trouble, [ agent.failure(error) ]);
				input.focus();
			});
		};
		save.addEventListener('click', send);
		cancel.addEventListener('click', leave);
		input.addEventListener('keydown', ev => {
			if (ev.key == 'Enter')
				send();
			else if (ev.key == 'Escape')
				leave();
		});
		dom.content(cell, [ E('div', { 'class': 'np-rename' }, [ input, save, cancel ]), trouble ]);
		input.focus();
	}
});
