'use strict';
'require view';
'require dom';
'require form';
'require uci';
'require netpilot.agent as agent';

/* How long the link may take, as netpilot-agent enroll waits. */
const LINK_SECONDS = 60, ASK_EACH = 3;

return view.extend({
	load() {
		return agent.status(true).then(status => ({ status }), error => ({ error }));
	},

	render(loaded) {
		return this.options().render().then(options => {
			this.form = E('div', {}, [ options ]);
			return E('div', { 'class': 'np' }, [
				E('link', { 'rel': 'stylesheet', 'href': L.resource('netpilot/netpilot.css') }, []),
				E('h2', {}, [ _('netpilot') ]),
				this.enrolment(loaded),
				this.form
			]);
		});
	},

	enrolment(loaded) {
		this.said = E('div', { 'id': 'np-said' }, []);
		const link = loaded.status ? loaded.status.uplink : {};
		this.now = loaded.error ? agent.failure(loaded.error)
			: E('p', {}, [ link.enrolled ? _('Enrolled at %s.').format(link.relay) : _('Not enrolled. The history is kept without a relay too.') ]);
		const panel = [ E('h3', {}, [ _('Enrolment') ]), this.now ];
		if (!L.hasViewPermission())
			panel.push(E('p', { 'class': 'np-note' }, [ _('You may look but not enrol.') ]));
		else
			panel.push(link.enrolled ? E('p', { 'class': 'np-note' }, [ _('Enrolling again replaces this router\'s secret.') ]) : '', this.fields(link));
		return E('div', { 'class': 'np-panel' }, panel.concat([ this.said ]));
	},

	fields(link) {
		const relay = E('input', { 'type': 'url', 'id': 'np-relay', 'class': 'cbi-input-text', 'placeholder': 'https://relay.example', 'autocomplete': 'off' }, []);
		const token = E('input', { 'type': 'password', 'id': 'np-token', 'class': 'cbi-input-text', 'autocomplete': 'new-password' }, []);
		const button = E('button', { 'type': 'button', 'id': 'np-enrol', 'class': 'cbi-button cbi-button-apply' }, [ _('Enrol') ]);
		relay.value = link.relay || '';
		button.addEventListener('click', () => {
			button.disabled = true;
			this.enrol(relay.value.trim(), token).then(() => { button.disabled = false; });
		});
		return E('div', { 'class': 'np-enrol' }, [
			E('label', {}, [ _('Address of the relay'), relay ]),
			E('label', {}, [ _('One-time token, from: netpilot-relay enrolment create'), token ]),
			E('div', {}, [ button ])
		]);
	},

	say(tone, text) {
		dom.content(this.said, [ E('div', { 'class': tone, 'role': tone == 'np-error' ? 'alert' : 'status' }, [ text ]) ]);
	},

	/* The token leaves the page once; it is gone from the field when it is used. */
	enrol(relay, token) {
		this.say('np-note', _('Asking the relay…'));
		return agent.enroll(relay, token.value.trim()).then(reply => {
			token.value = '';
			dom.content(this.now, [ _('Enrolled at %s.').format(reply.relay) ]);
			/* Enrolling switched an option on. */
			uci.unload('netpilot');
			this.options().render().then(options => dom.content(this.form, [ options ]));
			if (!reply.restarted) {
				this.say('np-done', _('Enrolled at %s. No service is installed here: start netpilot-agent run.').format(reply.relay));
				return;
			}
			this.say('np-note', _('Enrolled at %s. Waiting for the link…').format(reply.relay));
			return this.waitForLink(Date.now() + LINK_SECONDS * 1000);
		}).catch(error => this.say('np-error', error.message));
	},

	waitForLink(until) {
		return new Promise(resolve => window.setTimeout(resolve, ASK_EACH * 1000)).then(() => agent.status(true)).then(status => {
			if (status.uplink.connected)
				return this.say('np-done', _('The link is up.'));
			if (Date.now() < until)
				return this.waitForLink(until);
			this.say('np-error', _('There is no link yet: %s. The service goes on trying.').format(status.uplink.error || _('the reason is not known')));
		});
	},

	/* The options that an owner changes; the others are in the file, with what
	   they mean. */
	options() {
		const map = new form.Map('netpilot', _('Options'), _('In /etc/config/netpilot, which explains every option.'));
		const section = map.section(form.NamedSection, 'agent', 'agent');
		section.addremove = false;

		let o = section.option(form.Flag, 'enabled', _('Run the service'), _('From boot on. Enrolling switches it on.'));
		o.rmempty = false;

		o = section.option(form.ListValue, 'remote_access', _('The relay may'), _('What the relay may ask of this router.'));
		o.value('off', _('ask nothing'));
		o.value('read', _('read'));
		o.value('full', _('read, rename and reset'));
		o.default = 'full';

		o = section.option(form.Value, 'history_days', _('Days with hours'), _('How long the history keeps hours, 2 to 400; days are kept for 400.'));
		o.datatype = 'range(2,400)';
		o.placeholder = '35';

		o = section.option(form.Value, 'history_kib', _('Size of the history'), _('In KiB, in RAM and again on flash, 128 to 1048576.'));
		o.datatype = 'range(128,1048576)';
		o.placeholder = '1500';

		o = section.option(form.Flag, 'history_flash', _('Copy on flash'), _('Without it a reboot ends the history.'));
		o.default = '1';
		o.rmempty = false;

		o = section.option(form.Value, 'ca_file', _('Private CA'), _('PEM file with a certificate authority for the relay, trusted besides the system\'s.'));
		o.placeholder = '/etc/netpilot/ca.pem';
		o.validate = (id, value) => value == '' || value.charAt(0) == '/' || _('An absolute path, as /etc/netpilot/ca.pem');

		o = section.option(form.ListValue, 'log_level', _('Log'), _('What goes to the system log.'));
		for (const level of [ 'debug', 'info', 'warn', 'error' ])
			o.value(level);
		o.default = 'info';

		return map;
	}
});
