-- What the provider `local` writes and knows: texts, words, countries.  Rows are
-- made by the extension, so they are not dumped.

-- One Mustache text for each language and purpose; see sales_internal.prospect_variables().
CREATE TABLE sales_internal.local_texts (
    language text NOT NULL CHECK (language IN ('fr', 'en', 'it', 'es', 'de')),
    purpose text NOT NULL,
    subject text,
    body text NOT NULL,
    PRIMARY KEY (language, purpose)
);
COMMENT ON TABLE sales_internal.local_texts IS
    'Mustache texts of the provider local: messages by channel, next actions (action_), suggestions (improve_)';

-- Messages.  Each reads well with every variable there and with none: no name,
-- no company, no product, no benefit.  German greets with the full name, since
-- a first name alone is too familiar; its first word after the greeting is in
-- lower case unless it is a name.
INSERT INTO sales_internal.local_texts (language, purpose, subject, body) VALUES
('fr', 'email', '{{product_name}}{{#company_name}} pour {{company_name}}{{/company_name}}',
 E'Bonjour{{#first_name}} {{first_name}}{{/first_name}},\n\n'
 '{{#pain_points}}Beaucoup d''équipes nous parlent de la même difficulté : {{pain_points}}.\n\n{{/pain_points}}'
 '{{#benefit}}{{product_name}} pourrait {{#company_name}}aider {{company_name}}{{/company_name}}{{^company_name}}vous aider{{/company_name}} :\n'
 '{{#benefits}}- {{.}}\n{{/benefits}}{{/benefit}}'
 '{{^benefit}}J''aimerais vous présenter {{product_name}} et voir avec vous ce que cela pourrait {{#company_name}}apporter à {{company_name}}{{/company_name}}{{^company_name}}vous apporter{{/company_name}}.{{/benefit}}\n\n'
 '{{#tender}}L''appel d''offres « {{title}} » (ouvert jusqu''au {{deadline}}) pourrait {{#company_name}}concerner {{company_name}}{{/company_name}}{{^company_name}}vous concerner{{/company_name}}.\n\n{{/tender}}'
 'Auriez-vous un quart d''heure cette semaine pour en parler ?\n\nBien cordialement,\n{{{signature}}}'),
('fr', 'linkedin', NULL,
 'Bonjour{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} aide des équipes comme la vôtre{{#benefit}} : {{benefit}}{{/benefit}}. '
 'Seriez-vous disponible pour un échange de quinze minutes ?'),
('fr', 'sms', NULL,
 'Bonjour{{#first_name}} {{first_name}}{{/first_name}}, ici {{sender}}. Auriez-vous un quart d''heure cette semaine pour {{#product}}parler de {{product}}{{/product}}{{^product}}un échange{{/product}} ?'),
('fr', 'sms_short', NULL, 'Bonjour, ici {{sender}}. Auriez-vous un quart d''heure cette semaine pour un échange ?'),
('en', 'email', '{{product_name}}{{#company_name}} for {{company_name}}{{/company_name}}',
 E'Hello{{#first_name}} {{first_name}}{{/first_name}},\n\n'
 '{{#pain_points}}Many teams we speak to face the same problem: {{pain_points}}.\n\n{{/pain_points}}'
 '{{#benefit}}{{product_name}} could help {{#company_name}}{{company_name}}{{/company_name}}{{^company_name}}you{{/company_name}}:\n'
 '{{#benefits}}- {{.}}\n{{/benefits}}{{/benefit}}'
 '{{^benefit}}I would like to tell you about {{product_name}} and what it could do for {{#company_name}}{{company_name}}{{/company_name}}{{^company_name}}you{{/company_name}}.{{/benefit}}\n\n'
 '{{#tender}}The call for tenders “{{title}}” (open until {{deadline}}) may be of interest to {{#company_name}}{{company_name}}{{/company_name}}{{^company_name}}you{{/company_name}}.\n\n{{/tender}}'
 'Would you have fifteen minutes this week to talk about it?\n\nKind regards,\n{{{signature}}}'),
('en', 'linkedin', NULL,
 'Hello{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} helps teams like yours{{#benefit}}: {{benefit}}{{/benefit}}. '
 'Would you be available for a fifteen-minute chat?'),
('en', 'sms', NULL,
 'Hello{{#first_name}} {{first_name}}{{/first_name}}, this is {{sender}}. Would you have fifteen minutes this week to talk{{#product}} about {{product}}{{/product}}?'),
('en', 'sms_short', NULL, 'Hello, this is {{sender}}. Would you have fifteen minutes this week to talk?'),
('it', 'email', '{{product_name}}{{#company_name}} per {{company_name}}{{/company_name}}',
 E'Buongiorno{{#first_name}} {{first_name}}{{/first_name}},\n\n'
 '{{#pain_points}}Molte aziende ci raccontano la stessa difficoltà: {{pain_points}}.\n\n{{/pain_points}}'
 '{{#benefit}}{{product_name}} potrebbe {{#company_name}}aiutare {{company_name}}{{/company_name}}{{^company_name}}aiutarLa{{/company_name}}:\n'
 '{{#benefits}}- {{.}}\n{{/benefits}}{{/benefit}}'
 '{{^benefit}}Vorrei presentarLe {{product_name}} e capire insieme che cosa potrebbe {{#company_name}}offrire a {{company_name}}{{/company_name}}{{^company_name}}offrirLe{{/company_name}}.{{/benefit}}\n\n'
 '{{#tender}}La gara «{{title}}» (aperta fino al {{deadline}}) potrebbe {{#company_name}}interessare a {{company_name}}{{/company_name}}{{^company_name}}interessarLe{{/company_name}}.\n\n{{/tender}}'
 'Avrebbe un quarto d''ora questa settimana per parlarne?\n\nCordiali saluti\n{{{signature}}}'),
('it', 'linkedin', NULL,
 'Buongiorno{{#first_name}} {{first_name}}{{/first_name}}, {{product_name}} aiuta aziende come la Sua{{#benefit}}: {{benefit}}{{/benefit}}. '
 'Avrebbe quindici minuti per parlarne?'),
('it', 'sms', NULL,
 'Buongiorno{{#first_name}} {{first_name}}{{/first_name}}, qui {{sender}}. Avrebbe un quarto d''ora questa settimana per {{#product}}parlare di {{product}}{{/product}}{{^product}}un breve colloquio{{/product}}?'),
('it', 'sms_short', NULL, 'Buongiorno, qui {{sender}}. Avrebbe un quarto d''ora questa settimana per un breve colloquio?'),
('es', 'email', '{{product_name}}{{#company_name}} para {{company_name}}{{/company_name}}',
 E'Buenos días{{#first_name}}, {{first_name}}{{/first_name}}:\n\n'
 '{{#pain_points}}Muchas empresas nos hablan del mismo problema: {{pain_points}}.\n\n{{/pain_points}}'
 '{{#benefit}}{{product_name}} podría {{#company_name}}ayudar a {{company_name}}{{/company_name}}{{^company_name}}ayudarle{{/company_name}}:\n'
 '{{#benefits}}- {{.}}\n{{/benefits}}{{/benefit}}'
 '{{^benefit}}Me gustaría presentarle {{product_name}} y ver con usted qué podría aportar{{#company_name}} a {{company_name}}{{/company_name}}{{^company_name}}le{{/company_name}}.{{/benefit}}\n\n'
 '{{#tender}}La licitación «{{title}}» (abierta hasta el {{deadline}}) podría interesar{{#company_name}} a {{company_name}}{{/company_name}}{{^company_name}}le{{/company_name}}.\n\n{{/tender}}'
 '¿Tendría un cuarto de hora esta semana para comentarlo?\n\nUn cordial saludo,\n{{{signature}}}'),
('es', 'linkedin', NULL,
 'Hola{{#first_name}}, {{first_name}}{{/first_name}}. {{product_name}} ayuda a equipos como el suyo{{#benefit}}: {{benefit}}{{/benefit}}. '
 '¿Le vendría bien una charla de quince minutos?'),
('es', 'sms', NULL,
 'Hola{{#first_name}}, {{first_name}}{{/first_name}}. Le escribimos de {{sender}}. ¿Tendría un cuarto de hora esta semana para hablar{{#product}} de {{product}}{{/product}}?'),
('es', 'sms_short', NULL, 'Hola. Le escribimos de {{sender}}. ¿Tendría un cuarto de hora esta semana para hablar?'),
('de', 'email', '{{product_name}}{{#company_name}} für {{company_name}}{{/company_name}}',
 E'Guten Tag{{#full_name}} {{full_name}}{{/full_name}},\n\n'
 '{{#pain_points}}viele Teams schildern uns dasselbe Problem: {{pain_points}}.\n\n{{/pain_points}}'
 '{{#benefit}}{{product_name}} könnte {{#company_name}}{{company_name}}{{/company_name}}{{^company_name}}Ihnen{{/company_name}} helfen:\n'
 '{{#benefits}}- {{.}}\n{{/benefits}}{{/benefit}}'
 '{{^benefit}}{{product_name}} könnte für {{#company_name}}{{company_name}}{{/company_name}}{{^company_name}}Sie{{/company_name}} interessant sein; gern stelle ich Ihnen die Möglichkeiten kurz vor.{{/benefit}}\n\n'
 '{{#tender}}Die Ausschreibung „{{title}}“ (offen bis {{deadline}}) könnte für {{#company_name}}{{company_name}}{{/company_name}}{{^company_name}}Sie{{/company_name}} interessant sein.\n\n{{/tender}}'
 'Hätten Sie diese Woche eine Viertelstunde Zeit für ein kurzes Gespräch?\n\nFreundliche Grüße\n{{{signature}}}'),
('de', 'linkedin', NULL,
 'Guten Tag{{#full_name}} {{full_name}}{{/full_name}}, {{product_name}} hilft Teams wie Ihrem{{#benefit}}: {{benefit}}{{/benefit}}. '
 'Hätten Sie Zeit für ein kurzes Gespräch?'),
('de', 'sms', NULL,
 'Guten Tag{{#full_name}} {{full_name}}{{/full_name}}, hier ist {{sender}}. Hätten Sie diese Woche eine Viertelstunde Zeit{{#product}}, um über {{product}} zu sprechen{{/product}}{{^product}} für ein Gespräch{{/product}}?'),
('de', 'sms_short', NULL, 'Guten Tag, hier ist {{sender}}. Hätten Sie diese Woche eine Viertelstunde Zeit für ein Gespräch?'),

-- Next actions, at most 200 characters with names cut to 60.
('fr', 'action_positive', NULL, 'Appeler{{#name}} {{name}}{{/name}} : la réponse était positive, proposer une date pour un rendez-vous'),
('fr', 'action_reply', NULL, 'Répondre au message de{{#name}} {{name}}{{/name}}{{^name}} ce prospect{{/name}} du {{date}}'),
('fr', 'action_objection', NULL, 'Répondre à l''objection de{{#name}} {{name}}{{/name}}{{^name}} ce prospect{{/name}} du {{date}}, ou clore avec la raison'),
('fr', 'action_meeting', NULL, 'Envoyer le compte rendu du rendez-vous du {{date}} et convenir de la suite'),
('fr', 'action_channel', NULL, 'Changer de canal : {{n}} messages sans réponse, le dernier le {{date}} (essayer {{other}})'),
('fr', 'action_followup', NULL, 'Relancer{{#name}} {{name}}{{/name}} : sans réponse depuis le {{date}}'),
('fr', 'action_contact', NULL, 'Trouver une adresse e-mail ou un numéro{{#name}} pour {{name}}{{/name}}'),
('fr', 'action_tender', NULL, 'Parler de l''appel d''offres « {{title}} » avant le {{deadline}}'),
('fr', 'channel_email', NULL, 'l''e-mail'), ('fr', 'channel_linkedin', NULL, 'LinkedIn'), ('fr', 'channel_phone', NULL, 'le téléphone'),
('fr', 'channel_meeting', NULL, 'les rendez-vous'), ('fr', 'channel_other', NULL, 'les autres canaux'),
('en', 'action_positive', NULL, 'Call{{#name}} {{name}}{{/name}}: the answer was positive, so propose a date to meet'),
('en', 'action_reply', NULL, 'Reply to the message{{#name}} from {{name}}{{/name}} of {{date}}'),
('en', 'action_objection', NULL, 'Answer the objection{{#name}} of {{name}}{{/name}} from {{date}}, or close with the reason'),
('en', 'action_meeting', NULL, 'Send the notes of the meeting of {{date}} and agree on the next step'),
('en', 'action_channel', NULL, 'Change the channel: {{n}} messages without an answer, the last on {{date}} (try {{other}})'),
('en', 'action_followup', NULL, 'Follow up{{#name}} with {{name}}{{/name}}: no answer since {{date}}'),
('en', 'action_contact', NULL, 'Find an e-mail address or a phone number{{#name}} for {{name}}{{/name}}'),
('en', 'action_tender', NULL, 'Mention the call for tenders “{{title}}” before {{deadline}}'),
('en', 'channel_email', NULL, 'e-mail'), ('en', 'channel_linkedin', NULL, 'LinkedIn'), ('en', 'channel_phone', NULL, 'phone'),
('en', 'channel_meeting', NULL, 'meetings'), ('en', 'channel_other', NULL, 'other channels'),
('it', 'action_positive', NULL, 'Chiamare{{#name}} {{name}}{{/name}}: la risposta era positiva, proporre una data per un incontro'),
('it', 'action_reply', NULL, 'Rispondere al messaggio{{#name}} di {{name}}{{/name}} del {{date}}'),
('it', 'action_objection', NULL, 'Rispondere all''obiezione{{#name}} di {{name}}{{/name}} del {{date}}, oppure chiudere indicando il motivo'),
('it', 'action_meeting', NULL, 'Inviare il resoconto dell''incontro del {{date}} e concordare il passo successivo'),
('it', 'action_channel', NULL, 'Cambiare canale: {{n}} messaggi senza risposta, l''ultimo il {{date}} (provare {{other}})'),
('it', 'action_followup', NULL, 'Ricontattare{{#name}} {{name}}{{/name}}: nessuna risposta dal {{date}}'),
('it', 'action_contact', NULL, 'Trovare un indirizzo e-mail o un numero di telefono{{#name}} per {{name}}{{/name}}'),
('it', 'action_tender', NULL, 'Parlare della gara «{{title}}» prima del {{deadline}}'),
('it', 'channel_email', NULL, 'l''e-mail'), ('it', 'channel_linkedin', NULL, 'LinkedIn'), ('it', 'channel_phone', NULL, 'il telefono'),
('it', 'channel_meeting', NULL, 'gli incontri'), ('it', 'channel_other', NULL, 'gli altri canali'),
('es', 'action_positive', NULL, 'Llamar{{#name}} a {{name}}{{/name}}: la respuesta fue positiva, proponer una fecha para reunirse'),
('es', 'action_reply', NULL, 'Responder al mensaje{{#name}} de {{name}}{{/name}} del {{date}}'),
('es', 'action_objection', NULL, 'Responder a la objeción{{#name}} de {{name}}{{/name}} del {{date}}, o cerrar indicando el motivo'),
('es', 'action_meeting', NULL, 'Enviar el resumen de la reunión del {{date}} y acordar el siguiente paso'),
('es', 'action_channel', NULL, 'Cambiar de canal: {{n}} mensajes sin respuesta, el último el {{date}} (probar {{other}})'),
('es', 'action_followup', NULL, 'Volver a contactar{{#name}} con {{name}}{{/name}}: sin respuesta desde el {{date}}'),
('es', 'action_contact', NULL, 'Encontrar una dirección de correo o un teléfono{{#name}} de {{name}}{{/name}}'),
('es', 'action_tender', NULL, 'Comentar la licitación «{{title}}» antes del {{deadline}}'),
('es', 'channel_email', NULL, 'el correo electrónico'), ('es', 'channel_linkedin', NULL, 'LinkedIn'), ('es', 'channel_phone', NULL, 'el teléfono'),
('es', 'channel_meeting', NULL, 'las reuniones'), ('es', 'channel_other', NULL, 'los demás canales'),
('de', 'action_positive', NULL, '{{#name}}{{name}} anrufen{{/name}}{{^name}}Anrufen{{/name}}: Die Antwort war positiv, einen Termin vorschlagen'),
('de', 'action_reply', NULL, 'Die Nachricht{{#name}} von {{name}}{{/name}} vom {{date}} beantworten'),
('de', 'action_objection', NULL, 'Auf den Einwand{{#name}} von {{name}}{{/name}} vom {{date}} antworten oder mit Angabe des Grundes abschließen'),
('de', 'action_meeting', NULL, 'Das Protokoll des Termins vom {{date}} senden und den nächsten Schritt vereinbaren'),
('de', 'action_channel', NULL, 'Den Kanal wechseln: {{n}} Nachrichten ohne Antwort, die letzte am {{date}} (Vorschlag: {{other}})'),
('de', 'action_followup', NULL, 'Nachfassen{{#name}} bei {{name}}{{/name}}: keine Antwort seit dem {{date}}'),
('de', 'action_contact', NULL, 'E-Mail-Adresse oder Telefonnummer{{#name}} von {{name}}{{/name}} herausfinden'),
('de', 'action_tender', NULL, 'Die Ausschreibung „{{title}}“ vor dem {{deadline}} ansprechen'),
('de', 'channel_email', NULL, 'E-Mail'), ('de', 'channel_linkedin', NULL, 'LinkedIn'), ('de', 'channel_phone', NULL, 'Telefon'),
('de', 'channel_meeting', NULL, 'Termine'), ('de', 'channel_other', NULL, 'andere Kanäle'),

-- Suggestions: what to change (subject), what it may bring, and why.
('fr', 'improve_channel_mix', 'Passer davantage par {{value}} : {{rate}} % de réponses, contre {{other_rate}} % pour le reste', '+{{gain}} points de taux de réponse'),
('fr', 'improve_morning', 'Envoyer davantage le matin : {{rate}} % de réponses, contre {{other_rate}} % l''après-midi', '+{{gain}} points de taux de réponse'),
('fr', 'improve_afternoon', 'Envoyer davantage l''après-midi : {{rate}} % de réponses, contre {{other_rate}} % le matin', '+{{gain}} points de taux de réponse'),
('fr', 'improve_template_optimization', 'Préférer le modèle « {{value}} » : {{rate}} % de réponses, contre {{other_rate}} % pour les autres modèles', '+{{gain}} points de taux de réponse'),
('fr', 'improve_target_refinement', 'Viser davantage le secteur « {{value}} » : {{rate}} % d''affaires gagnées, contre {{other_rate}} % ailleurs', '+{{gain}} points de taux de conversion'),
('fr', 'improve_reason', NULL, 'Comparaison de deux proportions sur {{days}} jours : {{hits}} sur {{n}}, contre {{other_hits}} sur {{other_n}} ; p = {{p}}. Trouvé par calcul (fournisseur local).'),
('en', 'improve_channel_mix', 'Use {{value}} more: {{rate}} % of messages are answered, against {{other_rate}} % by other channels', '+{{gain}} points of answer rate'),
('en', 'improve_morning', 'Send more in the morning: {{rate}} % of messages are answered, against {{other_rate}} % in the afternoon', '+{{gain}} points of answer rate'),
('en', 'improve_afternoon', 'Send more in the afternoon: {{rate}} % of messages are answered, against {{other_rate}} % in the morning', '+{{gain}} points of answer rate'),
('en', 'improve_template_optimization', 'Prefer the template “{{value}}”: {{rate}} % of its messages are answered, against {{other_rate}} % of other templates', '+{{gain}} points of answer rate'),
('en', 'improve_target_refinement', 'Aim more at the sector “{{value}}”: {{rate}} % of its deals are won, against {{other_rate}} % elsewhere', '+{{gain}} points of win rate'),
('en', 'improve_reason', NULL, 'Comparison of two proportions over {{days}} days: {{hits}} of {{n}} against {{other_hits}} of {{other_n}}; p = {{p}}. Found by calculation (provider local).'),
('it', 'improve_channel_mix', 'Usare di più {{value}}: {{rate}} % di risposte, contro il {{other_rate}} % degli altri canali', '+{{gain}} punti di tasso di risposta'),
('it', 'improve_morning', 'Inviare di più al mattino: {{rate}} % di risposte, contro il {{other_rate}} % del pomeriggio', '+{{gain}} punti di tasso di risposta'),
('it', 'improve_afternoon', 'Inviare di più nel pomeriggio: {{rate}} % di risposte, contro il {{other_rate}} % del mattino', '+{{gain}} punti di tasso di risposta'),
('it', 'improve_template_optimization', 'Preferire il modello «{{value}}»: {{rate}} % di risposte, contro il {{other_rate}} % degli altri modelli', '+{{gain}} punti di tasso di risposta'),
('it', 'improve_target_refinement', 'Puntare di più sul settore «{{value}}»: {{rate}} % di trattative vinte, contro il {{other_rate}} % altrove', '+{{gain}} punti di tasso di conversione'),
('it', 'improve_reason', NULL, 'Confronto di due proporzioni su {{days}} giorni: {{hits}} su {{n}} contro {{other_hits}} su {{other_n}}; p = {{p}}. Trovato con un calcolo (fornitore local).'),
('es', 'improve_channel_mix', 'Usar más {{value}}: {{rate}} % de respuestas, frente al {{other_rate}} % de los demás canales', '+{{gain}} puntos de tasa de respuesta'),
('es', 'improve_morning', 'Enviar más por la mañana: {{rate}} % de respuestas, frente al {{other_rate}} % por la tarde', '+{{gain}} puntos de tasa de respuesta'),
('es', 'improve_afternoon', 'Enviar más por la tarde: {{rate}} % de respuestas, frente al {{other_rate}} % por la mañana', '+{{gain}} puntos de tasa de respuesta'),
('es', 'improve_template_optimization', 'Preferir la plantilla «{{value}}»: {{rate}} % de respuestas, frente al {{other_rate}} % de las demás', '+{{gain}} puntos de tasa de respuesta'),
('es', 'improve_target_refinement', 'Dirigirse más al sector «{{value}}»: {{rate}} % de operaciones ganadas, frente al {{other_rate}} % en los demás', '+{{gain}} puntos de tasa de conversión'),
('es', 'improve_reason', NULL, 'Comparación de dos proporciones en {{days}} días: {{hits}} de {{n}} frente a {{other_hits}} de {{other_n}}; p = {{p}}. Hallado por cálculo (proveedor local).'),
('de', 'improve_channel_mix', 'Mehr über diesen Kanal senden: {{value}} – {{rate}} % Antworten gegenüber {{other_rate}} % bei den übrigen', '+{{gain}} Punkte Antwortquote'),
('de', 'improve_morning', 'Mehr am Vormittag senden: {{rate}} % Antworten gegenüber {{other_rate}} % am Nachmittag', '+{{gain}} Punkte Antwortquote'),
('de', 'improve_afternoon', 'Mehr am Nachmittag senden: {{rate}} % Antworten gegenüber {{other_rate}} % am Vormittag', '+{{gain}} Punkte Antwortquote'),
('de', 'improve_template_optimization', 'Die Vorlage „{{value}}“ bevorzugen: {{rate}} % Antworten gegenüber {{other_rate}} % bei anderen Vorlagen', '+{{gain}} Punkte Antwortquote'),
('de', 'improve_target_refinement', 'Die Branche „{{value}}“ stärker ansprechen: {{rate}} % gewonnene Geschäfte gegenüber {{other_rate}} % in den übrigen', '+{{gain}} Punkte Abschlussquote'),
('de', 'improve_reason', NULL, 'Vergleich zweier Anteile über {{days}} Tage: {{hits}} von {{n}} gegenüber {{other_hits}} von {{other_n}}; p = {{p}}. Durch Berechnung gefunden (Anbieter local).');

-- Words by which the provider `local` judges an answer, without accents.
CREATE TABLE sales_internal.lexicon (
    language text NOT NULL CHECK (language IN ('fr', 'en', 'it', 'es', 'de')),
    word text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('tone', 'negation', 'plain')),
    weight integer NOT NULL CHECK (weight BETWEEN -4 AND 4),
    PRIMARY KEY (language, word)
);
COMMENT ON TABLE sales_internal.lexicon IS
    'Words of the provider local, in lower case and without accents: tone (weight above 0 is positive), negation (turns the words near it round), plain (tells the language only); a blank makes it a phrase';
INSERT INTO sales_internal.lexicon (language, kind, weight, word)
SELECT language, kind, weight, replace(word, '-', ' ')
FROM (VALUES
    ('fr', 'plain', 0, 'je,nous,vous,le,la,les,est,une,des,pour,avec,votre,vos,notre,mais,sur,que,qui,cette,suis,sommes,avons,bonjour,cordialement'),
    ('en', 'plain', 0, 'i,we,you,the,is,are,for,with,your,our,but,this,that,and,to,of,am,have,has,please,hello,regards'),
    ('it', 'plain', 0, 'io,noi,lo,gli,che,per,con,siamo,sono,mi,vi,ci,vostra,vostro,questa,questo,della,ma,abbiamo,buongiorno,saluti'),
    ('es', 'plain', 0, 'yo,nosotros,el,los,las,que,es,para,con,somos,me,le,les,usted,su,nuestro,esta,este,pero,tenemos,hola,saludos'),
    ('de', 'plain', 0, 'ich,wir,sie,das,ist,fur,mit,und,der,die,den,ihre,ihr,uns,aber,auf,wir,haben,sind,hallo,tag,grusse,bitte'),
    ('fr', 'negation', 0, 'pas,non,aucun,aucune,sans,ni,jamais'),
    ('en', 'negation', 0, 'not,no,don''t,didn''t,doesn''t,isn''t,aren''t,wasn''t,won''t,can''t,cannot,without,nothing,nor,neither,never'),
    ('it', 'negation', 0, 'non,no,nessun,nessuna,nessuno,senza,ne,mai'),
    ('es', 'negation', 0, 'no,ningun,ninguna,sin,ni,tampoco,nunca'),
    ('de', 'negation', 0, 'nicht,kein,keine,keinen,keiner,keinerlei,ohne,nein,nie,niemals'),
    ('fr', 'tone', 2, 'interesse,interessee,interessant,interessante,interessent,interesses,oui,volontiers,parfait,parfaite,excellent,excellente,super,ravi,ravie,enchante,genial,formidable,convaincu,convaincue,partant,bravo,impressionne'),
    ('fr', 'tone', 1, 'bonne,bien,merci,disponible,accord,curieux,curieuse,utile,plaisir,demo,demonstration,rendez-vous'),
    ('fr', 'tone', 3, 'rappelez-moi,appelez-moi,en savoir plus,avec plaisir,bonne idee,prenons rendez-vous,tenez-moi au courant,pas de probleme,pas de souci,ca m''interesse,on en parle,quand pouvons-nous,pourquoi pas'),
    ('fr', 'tone', -2, 'desabonner,desinscrire,desabonnez,desinscrivez,spam,inutile,arretez,stop,mecontent,mecontente,decu,decue,refuse,refusons,declinons,deplorable,inadmissible,agace,supprimez,retirez'),
    ('fr', 'tone', -1, 'cher,chere,malheureusement,regrettons,concurrent,impossible,desole,desolee,tard'),
    ('fr', 'tone', -3, 'trop cher,pas le budget,pas de budget,ne plus me contacter,ne me contactez plus,ne nous contactez plus,ne plus recevoir,pas le temps,pas pour nous,deja un fournisseur,deja un prestataire,deja equipes,pas donner suite,ne donnerons pas suite,pas le bon moment,laissez-moi tranquille,pas besoin,aucun besoin,perte de temps'),
    ('en', 'tone', 2, 'interested,interesting,yes,great,perfect,excellent,love,loved,delighted,awesome,fantastic,impressed,keen,brilliant,wonderful,promising,absolutely,definitely'),
    ('en', 'tone', 1, 'good,happy,glad,thanks,available,agree,curious,useful,sure,welcome,demo,appreciate,looking forward'),
    ('en', 'tone', 3, 'call me,set up a meeting,set up a call,let''s talk,let us talk,tell me more,sounds good,sounds great,no problem,why not,happy to,would love,good idea,count me in,next step,next steps,send me more,book a,schedule a call,works for me'),
    ('en', 'tone', -2, 'unsubscribe,spam,useless,stop,disappointed,disappointing,annoyed,annoying,reject,decline,declined,terrible,awful,rude,irrelevant,waste,pass'),
    ('en', 'tone', -1, 'expensive,unfortunately,competitor,pricey,regret'),
    ('en', 'tone', -3, 'remove me,take me off,do not contact,don''t contact,stop emailing,no budget,no time,too expensive,too late,already have a,already use,already working with,not a fit,not a good fit,not for us,no need,no thanks,no thank you,leave me alone,not a priority,not the right time,not at this time,never contact,not convinced'),
    ('it', 'tone', 2, 'interessa,interessato,interessata,interessati,interessante,interessanti,si,volentieri,perfetto,perfetta,ottimo,ottima,eccellente,felice,lieto,lieta,entusiasta,fantastico,magnifico,convinto,convinta'),
    ('it', 'tone', 1, 'bene,buona,buono,grazie,disponibile,d''accordo,accordo,curioso,curiosa,utile,piacere,demo,dimostrazione,appuntamento'),
    ('it', 'tone', 3, 'mi chiami,chiamatemi,mi richiami,richiamatemi,con piacere,buona idea,fissiamo un,sentiamoci,ci sentiamo,nessun problema,perche no,mi mandi,mi interesserebbe,vorrei saperne di piu,ne parliamo'),
    ('it', 'tone', -2, 'cancellatemi,cancellarmi,cancellarci,cancellate,disiscrivetemi,disiscrivermi,rimuovermi,disiscrivere,spam,inutile,basta,deluso,delusa,rifiuto,rifiutiamo,pessimo,pessima,seccato,fastidio,smettetela,rimuovete'),
    ('it', 'tone', -1, 'caro,cara,purtroppo,spiacente,spiacenti,concorrente,impossibile,tardi,dispiace'),
    ('it', 'tone', -3, 'troppo caro,troppo cara,troppo costoso,non contattatemi,non mi contatti,non contattateci,non ci serve,non mi serve,nessun budget,non abbiamo budget,non abbiamo tempo,non ho tempo,non fa per noi,abbiamo gia un,gia un fornitore,non e il momento,non e il caso,lasciatemi in pace,perdita di tempo,non abbiamo bisogno,non ne abbiamo bisogno'),
    ('es', 'tone', 2, 'interesa,interesado,interesada,interesados,interesante,interesaria,si,encantado,encantada,perfecto,perfecta,excelente,genial,feliz,estupendo,estupenda,fantastico,maravilloso,convencido,convencida'),
    ('es', 'tone', 1, 'bien,buena,bueno,gracias,disponible,acuerdo,curioso,util,gusto,demo,demostracion,reunion'),
    ('es', 'tone', 3, 'llameme,llamenme,con mucho gusto,con gusto,buena idea,hablamos,concertemos una,agendemos,sin problema,ningun problema,por que no,me gustaria saber mas,enviame mas,envieme mas,cuente conmigo,adelante'),
    ('es', 'tone', -2, 'baja,spam,inutil,basta,decepcionado,decepcionada,rechazo,rechazamos,eliminenme,borrenme,pesimo,pesima,molesto,molesta'),
    ('es', 'tone', -1, 'caro,cara,lamentablemente,desgraciadamente,competidor,imposible,tarde,lamento,sentimos,lamentamos'),
    ('es', 'tone', -3, 'demasiado caro,demasiado cara,no me contacten,no nos contacten,no contacten,darme de baja,deme de baja,denme de baja,sin presupuesto,no tenemos presupuesto,no tengo tiempo,no tenemos tiempo,no es para nosotros,ya tenemos,no es el momento,no necesitamos,no lo necesitamos,dejenme en paz,perdida de tiempo,no encaja'),
    ('de', 'tone', 2, 'interessiert,interessant,interessante,interesse,ja,gerne,gern,perfekt,ausgezeichnet,toll,super,begeistert,freue,freuen,hervorragend,uberzeugt,klasse,wunderbar,grossartig'),
    ('de', 'tone', 1, 'gut,gute,danke,verfugbar,einverstanden,neugierig,nutzlich,passt,termin,vorfuhrung,demo,vielversprechend'),
    ('de', 'tone', 3, 'rufen sie mich an,rufen sie an,gute idee,kein problem,warum nicht,passt gut,klingt gut,sehr gerne,mehr erfahren,senden sie mir,schicken sie mir,lassen sie uns'),
    ('de', 'tone', -2, 'ablehnen,abmelden,spam,nutzlos,stopp,enttauscht,verargert,unverschamt,belastigung,streichen,loschen,unbrauchbar,ablehne,absage,absagen'),
    ('de', 'tone', -1, 'teuer,leider,konkurrenz,konkurrent,unmoglich,bedauern,spat'),
    ('de', 'tone', -3, 'zu teuer,kein interesse,kein budget,keine zeit,kein bedarf,keinen bedarf,nicht mehr kontaktieren,nicht mehr anschreiben,keine weiteren mails,keine werbung,haben bereits,schon einen anbieter,nicht der richtige zeitpunkt,nichts fur uns,in ruhe,zeitverschwendung,passt nicht'))
    v (language, kind, weight, words)
CROSS JOIN LATERAL unnest(string_to_array(words, ',')) word
ON CONFLICT DO NOTHING;

-- Countries by the names people write, for the language of messages and for
-- searches by country.
CREATE TABLE sales_internal.countries (
    iso2 text PRIMARY KEY CHECK (iso2 ~ '^[A-Z]{2}$'),
    iso3 text NOT NULL UNIQUE CHECK (iso3 ~ '^[A-Z]{3}$'),
    language text CHECK (language IN ('fr', 'en', 'it', 'es', 'de')),
    names text[] NOT NULL
);
COMMENT ON TABLE sales_internal.countries IS
    'Countries: ISO 3166 codes, the language to write in (null: several or none of the five), names in lower case without accents';
INSERT INTO sales_internal.countries (iso2, iso3, language, names)
SELECT iso2, iso3, language, string_to_array(names, ',')
FROM (VALUES
    ('FR', 'FRA', 'fr', 'france,francia,frankreich'), ('MC', 'MCO', 'fr', 'monaco'),
    ('BE', 'BEL', NULL, 'belgium,belgique,belgio,belgica,belgien,belgie'), ('LU', 'LUX', 'fr', 'luxembourg,lussemburgo,luxemburgo,luxemburg'),
    ('CH', 'CHE', NULL, 'switzerland,suisse,svizzera,suiza,schweiz'), ('CA', 'CAN', 'en', 'canada,kanada'),
    ('IT', 'ITA', 'it', 'italy,italie,italia,italien'), ('SM', 'SMR', 'it', 'san marino,saint-marin'),
    ('ES', 'ESP', 'es', 'spain,espagne,spagna,espana,spanien'), ('AD', 'AND', 'es', 'andorra,andorre'),
    ('MX', 'MEX', 'es', 'mexico,mexique,messico,mejico,mexiko'), ('AR', 'ARG', 'es', 'argentina,argentine,argentinien'),
    ('CL', 'CHL', 'es', 'chile,chili,cile'), ('CO', 'COL', 'es', 'colombia,colombie,kolumbien'), ('PE', 'PER', 'es', 'peru,perou'),
    ('UY', 'URY', 'es', 'uruguay'), ('EC', 'ECU', 'es', 'ecuador,equateur'), ('CR', 'CRI', 'es', 'costa rica'),
    ('DE', 'DEU', 'de', 'germany,allemagne,germania,alemania,deutschland'), ('AT', 'AUT', 'de', 'austria,autriche,osterreich,oesterreich'),
    ('LI', 'LIE', 'de', 'liechtenstein'),
    ('GB', 'GBR', 'en', 'united kingdom,uk,great britain,england,scotland,wales,northern ireland,royaume-uni,regno unito,reino unido,vereinigtes konigreich,grossbritannien,grande-bretagne,gran bretagna'),
    ('IE', 'IRL', 'en', 'ireland,irlande,irlanda,irland'),
    ('US', 'USA', 'en', 'united states,united states of america,etats-unis,stati uniti,estados unidos,vereinigte staaten,u.s.a.,u.s.,america'),
    ('AU', 'AUS', 'en', 'australia,australie,australien'), ('NZ', 'NZL', 'en', 'new zealand,nouvelle-zelande'), ('IN', 'IND', 'en', 'india,inde,indien'),
    ('ZA', 'ZAF', 'en', 'south africa,afrique du sud'), ('SG', 'SGP', 'en', 'singapore,singapour'), ('MT', 'MLT', 'en', 'malta,malte'),
    ('SN', 'SEN', 'fr', 'senegal'), ('CI', 'CIV', 'fr', 'cote d''ivoire,ivory coast'), ('MA', 'MAR', 'fr', 'morocco,maroc,marocco,marruecos,marokko'),
    ('TN', 'TUN', 'fr', 'tunisia,tunisie,tunesien'), ('DZ', 'DZA', 'fr', 'algeria,algerie,algerien'),
    ('NL', 'NLD', NULL, 'netherlands,the netherlands,holland,pays-bas,paesi bassi,paises bajos,niederlande,nederland'),
    ('PT', 'PRT', NULL, 'portugal,portogallo'), ('PL', 'POL', NULL, 'poland,pologne,polonia,polen,polska'),
    ('SE', 'SWE', NULL, 'sweden,suede,svezia,suecia,schweden,sverige'), ('DK', 'DNK', NULL, 'denmark,danemark,danimarca,dinamarca,danmark'),
    ('FI', 'FIN', NULL, 'finland,finlande,finlandia,finnland,suomi'), ('NO', 'NOR', NULL, 'norway,norvege,norvegia,noruega,norwegen,norge'),
    ('CZ', 'CZE', NULL, 'czech republic,czechia,republique tcheque,tschechien'), ('SK', 'SVK', NULL, 'slovakia,slovaquie,slowakei'),
    ('HU', 'HUN', NULL, 'hungary,hongrie,ungheria,hungria,ungarn'), ('RO', 'ROU', NULL, 'romania,roumanie,rumania,rumanien'),
    ('BG', 'BGR', NULL, 'bulgaria,bulgarie,bulgarien'), ('GR', 'GRC', NULL, 'greece,grece,grecia,griechenland'),
    ('HR', 'HRV', NULL, 'croatia,croatie,croazia,croacia,kroatien'), ('SI', 'SVN', NULL, 'slovenia,slovenie,slowenien'),
    ('EE', 'EST', NULL, 'estonia,estonie,estland'), ('LV', 'LVA', NULL, 'latvia,lettonie,lettland'), ('LT', 'LTU', NULL, 'lithuania,lituanie,litauen'),
    ('CY', 'CYP', NULL, 'cyprus,chypre,cipro,chipre,zypern')) v (iso2, iso3, language, names);
